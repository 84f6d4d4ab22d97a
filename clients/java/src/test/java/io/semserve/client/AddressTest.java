package io.semserve.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class AddressTest {
  @ParameterizedTest
  @ValueSource(
      strings = {"localhost:50051", "[::1]:50051", "dns:///a.example:443", "unix:/run/semserve"})
  void oneAddressIsATargetAsItIs(String address) {
    assertEquals(address, Address.target(" " + address + "\n"));
  }

  @Test
  void severalAddressesAreOneTarget() {
    assertEquals(
        "semserve:///a.example:1,%5B::1%5D:2", Address.target("a.example:1", "[::1]:2"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "'' | HOST:PORT",
        "localhost | HOST:PORT",
        "localhost: | HOST:PORT",
        ":50051 | HOST:PORT",
        "localhost:0 | 1 to 65535",
        "localhost:65536 | 1 to 65535",
        "::1:50051 | [IPV6]:PORT",
        "HTTPS://a.example:443/ | write a.example:443",
        "a b:1 | space",
      })
  void anAddressThatGrpcWouldTakeForAnotherIsRefusedWithWhatToWrite(String address, String says) {
    var refused = assertThrows(IllegalArgumentException.class, () -> Address.target(address));
    assertTrue(refused.getMessage().contains(says), refused.getMessage());
  }

  @Test
  void aListHoldsHostsWithPortsOnly() {
    assertThrows(IllegalArgumentException.class, Address::target);
    for (String address : new String[] {"unix:/run/x", "dns:///b.example:1", "b.example"}) {
      assertThrows(
          IllegalArgumentException.class, () -> Address.target("a.example:1", address), address);
    }
  }

  @Test
  void thisMachinesAddressesAreToldFromOthers() {
    assertTrue(Address.isLocal("localhost:1", "127.0.0.9:1", "[::1]:1", "unix:/x", "dns:///localhost:1"));
    for (String address : new String[] {"a.example:1", "localhost.example:1", "10.127.0.1:1"}) {
      assertFalse(Address.isLocal("localhost:1", address), address);
    }
  }
}
