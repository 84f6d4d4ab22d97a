package io.semserve.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

class FlightTest {
  private static final SemserveException FULL =
      SemserveException.of(
          com.google.rpc.Status.newBuilder()
              .setCode(Status.Code.RESOURCE_EXHAUSTED.value())
              .addDetails(
                  Any.pack(
                      RetryInfo.newBuilder()
                          .setRetryDelay(Duration.newBuilder().setNanos(50))
                          .build()))
              .build());

  @Test
  void requestsWithoutAnAnswerAreBoundedInNumberAndBytesButOneAlwaysFits() {
    Flight<String> flight = new Flight<>(2);
    assertTrue(flight.fits(Flight.MAX_BYTES + 1));
    flight.add("0", "a", "A", 10);
    assertTrue(flight.fits(Flight.MAX_BYTES - 10));
    assertFalse(flight.fits(Flight.MAX_BYTES - 9));
    flight.add("1", "b", "B", 10);
    assertFalse(flight.fits(0));
    assertEquals(Optional.of("a"), flight.settle("0", null, 0));
    assertTrue(flight.fits(0));
  }

  @Test
  void whatWasShedIsSentAgainWhenItIsDueFourTimesInAll() {
    Flight<String> flight = new Flight<>(2);
    flight.add("0", "a", "A", 1);
    for (long now = 1000; now <= 3000; now += 1000) {
      assertEquals(Optional.empty(), flight.settle("0", FULL, now));
      assertEquals(OptionalLong.of(50), flight.untilDue(now));
      assertEquals(List.of(), flight.takeDue(now + 49));
      assertEquals(List.of("A"), flight.takeDue(now + 50));
      assertEquals(OptionalLong.empty(), flight.untilDue(now + 50));
    }
    assertEquals(Optional.of("a"), flight.settle("0", FULL, 9000));
    assertTrue(flight.isEmpty());
  }

  @Test
  void anotherStreamIsGivenWhatTheServerOfABrokenOneHadAndNothingThatWaits() {
    Flight<String> flight = new Flight<>(3);
    flight.add("0", "a", "A", 1);
    flight.add("1", "b", "B", 1);
    flight.settle("0", FULL, 0);
    assertEquals(List.of("B"), flight.sent());
  }

  @Test
  void anAnswerToWhatNoServerHasIsTheServersFault() {
    Flight<String> flight = new Flight<>(3);
    flight.add("0", "a", "A", 1);
    flight.settle("0", FULL, 0);
    for (String name : List.of("0", "other")) {
      var failed =
          assertThrows(SemserveException.class, () -> flight.settle(name, null, 0));
      assertEquals(Status.Code.INTERNAL, failed.code());
    }
  }
}
