package io.semserve.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.grpc.Status;
import io.semserve.v1.Embedding;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class VectorsTest {
  private static final float[] VECTOR = {0.5f, -2};

  @Test
  void vectorsOfEveryFormAreRead() {
    assertArrayEquals(
        VECTOR, Vectors.unpack(Embedding.newBuilder().addValues(0.5f).addValues(-2).build()));
    assertArrayEquals(VECTOR, Vectors.unpack(packed(0, 0, 0, 0x3f, 0, 0, 0, 0xc0)));
    assertArrayEquals(VECTOR, Vectors.unpack(packed(0, 0x38, 0, 0xc0)));
    assertArrayEquals(
        new float[] {63.5f, -64},
        Vectors.unpack(packed(127, 0x80).toBuilder().setScale(0.5f).build()));
  }

  @Test
  void aLengthThatFitsNoFormIsTheServersFault() {
    var failed =
        assertThrows(SemserveException.class, () -> Vectors.unpack(packed(1, 2, 3, 4, 5)));
    assertEquals(Status.Code.INTERNAL, failed.code());
  }

  @ParameterizedTest
  @CsvSource({
    "0000, 0", "0001, 5.9604645E-8", "03ff, 6.097555E-5", "0400, 6.1035156E-5", "3c00, 1",
    "3555, 0.33325195", "7bff, 65504", "fbff, -65504", "7c00, Infinity", "fc00, -Infinity",
  })
  void halvesAreWidenedExactly(String bits, String expected) {
    assertEquals(Float.parseFloat(expected), Vectors.widen((short) Integer.parseInt(bits, 16)));
  }

  @Test
  void aHalfThatIsNoNumberIsNone() {
    assertTrue(Float.isNaN(Vectors.widen((short) 0x7e00)));
    assertEquals(-0.0f, Vectors.widen((short) 0x8000));
  }

  @Test
  void aCosineIsOfTwoVectorsOfOneLength() {
    assertEquals(1, Vectors.cosine(new float[] {1, 0}, new float[] {2, 0}));
    assertEquals(0, Vectors.cosine(new float[] {1, 0}, new float[] {0, 3}));
    assertEquals(0, Vectors.cosine(new float[2], new float[] {1, 1}));
    assertThrows(
        IllegalArgumentException.class, () -> Vectors.cosine(new float[1], new float[2]));
  }

  private static Embedding packed(int... bytes) {
    byte[] made = new byte[bytes.length];
    for (int place = 0; place < made.length; place++) {
      made[place] = (byte) bytes[place];
    }
    return Embedding.newBuilder().setPacked(ByteString.copyFrom(made)).setDimensions(2).build();
  }
}
