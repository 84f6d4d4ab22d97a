package io.semserve.client;

import com.google.protobuf.ByteString;
import io.grpc.Status;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** Vectors: compared, and read from the forms in which they travel. */
public final class Vectors {
  private Vectors() {}

  /**
   * Gives the cosine of the angle between two vectors, from -1 to 1; 0 where one of them is zero.
   *
   * @throws IllegalArgumentException if the lengths differ
   */
  public static double cosine(float[] left, float[] right) {
    if (left.length != right.length) {
      throw new IllegalArgumentException(
          "vectors of " + left.length + " and " + right.length + " dimensions have no cosine");
    }
    double dot = 0;
    double leftSquare = 0;
    double rightSquare = 0;
    for (int i = 0; i < left.length; i++) {
      dot += (double) left[i] * right[i];
      leftSquare += (double) left[i] * left[i];
      rightSquare += (double) right[i] * right[i];
    }
    return leftSquare == 0 || rightSquare == 0 ? 0 : dot / Math.sqrt(leftSquare * rightSquare);
  }

  /**
   * Gives the values of an embedding in whatever form it travelled. The width of a value tells the
   * form, so that an answer is read without its request.
   */
  static float[] unpack(io.semserve.v1.Embedding embedding) {
    ByteString packed = embedding.getPacked();
    if (packed.isEmpty()) {
      return copy(embedding.getValuesList());
    }
    float[] vector = new float[embedding.getDimensions()];
    ByteBuffer bytes = packed.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    if (packed.size() == Float.BYTES * vector.length) {
      bytes.asFloatBuffer().get(vector); // one copy of the bytes
    } else if (packed.size() == Short.BYTES * vector.length) {
      for (int i = 0; i < vector.length; i++) {
        vector[i] = widen(bytes.getShort());
      }
    } else if (packed.size() == vector.length) {
      for (int i = 0; i < vector.length; i++) {
        vector[i] = embedding.getScale() * bytes.get();
      }
    } else {
      throw new SemserveException(
          Status.Code.INTERNAL,
          "the server packed " + vector.length + " dimensions into " + packed.size() + " bytes");
    }
    return vector;
  }

  /** Copies what protobuf keeps as an array of floats, and boxes none of them for long. */
  static float[] copy(List<Float> values) {
    float[] made = new float[values.size()];
    for (int i = 0; i < made.length; i++) {
      made[i] = values.get(i);
    }
    return made;
  }

  /**
   * Turns the bits of an IEEE 754 binary16 into the same number. There are three cases: infinity
   * and NaN, whose exponent is all ones; zero and subnormal numbers, which have no hidden bit; and
   * the rest, whose exponent moves from a bias of 15 to one of 127.
   */
  static float widen(short half) {
    int sign = (half & 0x8000) << 16;
    int exponent = half >> 10 & 0x1f;
    int fraction = half & 0x3ff;
    if (exponent == 0x1f) {
      return Float.intBitsToFloat(sign | 0xff << 23 | fraction << 13);
    }
    if (exponent == 0) {
      return Float.intBitsToFloat(sign | Float.floatToRawIntBits(fraction * 0x1p-24f));
    }
    return Float.intBitsToFloat(sign | exponent + 127 - 15 << 23 | fraction << 13);
  }
}
