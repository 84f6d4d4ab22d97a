package io.semserve.client;

import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What an address may be, and how several of them become one gRPC target. */
final class Address {
  private static final List<String> SCHEMES =
      List.of("http://", "https://", "grpc://", "grpcs://", "tcp://");
  private static final Pattern HOST_PORT =
      Pattern.compile("(?:\\[([0-9a-fA-F:.%a-z]*:[0-9a-fA-F:.%a-z]*)]|([^:\\[\\]/]+)):(\\d{1,5})");
  private static final Pattern OTHER_TARGET = Pattern.compile("[a-z][a-z0-9+.-]*:.*[/].*|unix:.*|unix-abstract:.*");
  private static final int MOST_PORT = 65_535;

  private Address() {}

  /**
   * Gives the gRPC target of one address or of several.
   *
   * @throws IllegalArgumentException if gRPC could not resolve one, or would use port 443 for it
   */
  static String target(String... addresses) {
    if (addresses.length == 0) {
      throw new IllegalArgumentException(
          "there is no address: write HOST:PORT, such as localhost:50051");
    }
    String[] trimmed = Arrays.stream(addresses).map(String::strip).toArray(String[]::new);
    for (String address : trimmed) {
      check(address, trimmed.length > 1);
    }
    return trimmed.length == 1 ? trimmed[0] : AddressListResolver.target(trimmed);
  }

  /** Whether all are addresses of this machine, for which no proxy is used. */
  static boolean isLocal(String... addresses) {
    return Arrays.stream(addresses).map(String::strip).allMatch(Address::isLocal);
  }

  private static boolean isLocal(String address) {
    if (address.startsWith("unix:") || address.startsWith("unix-abstract:")) {
      return true;
    }
    String name = address.startsWith("dns:") ? address.replaceFirst("dns:(///)?", "") : address;
    Matcher found = HOST_PORT.matcher(name);
    if (!found.matches()) {
      return false;
    }
    String host = host(found).toLowerCase(Locale.ROOT);
    return host.equals("localhost")
        || host.endsWith(".localhost")
        || host.startsWith("127.")
        || List.of("::1", "::", "0.0.0.0").contains(host);
  }

  /** Gives an unresolved address of HOST:PORT, which {@link #target} has checked. */
  static InetSocketAddress parse(String name) {
    Matcher found = HOST_PORT.matcher(name);
    if (!found.matches()) {
      throw new IllegalArgumentException("address \"" + name + "\" is not HOST:PORT");
    }
    return InetSocketAddress.createUnresolved(host(found), Integer.parseInt(found.group(3)));
  }

  private static String host(Matcher found) {
    return found.group(1) == null ? found.group(2) : found.group(1);
  }

  private static void check(String address, boolean listed) {
    String said = "address \"" + address + "\" ";
    if (address.chars().anyMatch(character -> character <= ' ' || character == 0x7f)) {
      throw new IllegalArgumentException(said + "has a space or a control character in it");
    }
    for (String scheme : SCHEMES) {
      if (address.toLowerCase(Locale.ROOT).startsWith(scheme)) {
        String plain = address.substring(scheme.length()).replaceAll("/+$", "");
        throw new IllegalArgumentException(
            said + "has a scheme: write " + plain + "; TLS is asked for with tls()");
      }
    }
    if (!listed && OTHER_TARGET.matcher(address).matches()) {
      return;
    }
    String name = !listed && address.startsWith("dns:") ? address.substring(4) : address;
    Matcher found = HOST_PORT.matcher(name);
    if (found.matches() && inRange(Integer.parseInt(found.group(3)))) {
      return;
    }
    boolean ipv6 = name.chars().filter(character -> character == ':').count() > 1;
    throw new IllegalArgumentException(
        said
            + (ipv6 && !name.startsWith("[")
                ? "has several colons: write an IPv6 address as [IPV6]:PORT"
                : "is not HOST:PORT with a port from 1 to 65535, such as localhost:50051"));
  }

  private static boolean inRange(int port) {
    return port >= 1 && port <= MOST_PORT;
  }
}
