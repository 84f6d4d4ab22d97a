package io.semserve.client;

import io.grpc.EquivalentAddressGroup;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.NameResolverRegistry;
import io.grpc.Status;
import io.grpc.StatusOr;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;

/**
 * Resolves a list of hosts with ports, each of which may have several addresses, so that calls are
 * balanced over all of them.
 */
final class AddressListResolver extends NameResolver {
  private static final String SCHEME = "semserve";

  /** The least time between two resolutions; the balancer asks for one at every lost connection. */
  private static final long MIN_INTERVAL_NANOS = 10_000_000_000L;

  static {
    NameResolverRegistry.getDefaultRegistry().register(new Provider());
  }

  private final String[] addresses;
  private final Executor executor;
  private Listener2 listener;
  private long resolvedAt;
  private boolean resolved;

  private AddressListResolver(String[] addresses, Args args) {
    this.addresses = addresses;
    Executor offload = args.getOffloadExecutor();
    this.executor = offload == null ? Runnable::run : offload;
  }

  /** Gives the target that this resolver resolves; loading the class registers it. */
  static String target(String... addresses) {
    return SCHEME + ":///" + String.join(",", addresses).replace("[", "%5B").replace("]", "%5D");
  }

  @Override
  public String getServiceAuthority() {
    return addresses[0];
  }

  @Override
  public void start(Listener2 listener) {
    this.listener = listener;
    executor.execute(this::resolve);
  }

  @Override
  public synchronized void refresh() {
    if (!resolved || System.nanoTime() - resolvedAt >= MIN_INTERVAL_NANOS) {
      executor.execute(this::resolve);
    }
  }

  @Override
  public void shutdown() {}

  private void resolve() {
    synchronized (this) {
      resolved = true;
      resolvedAt = System.nanoTime();
    }
    List<EquivalentAddressGroup> found = new ArrayList<>();
    UnknownHostException failed = null;
    for (String address : addresses) {
      InetSocketAddress named = Address.parse(address);
      try {
        for (InetAddress one : InetAddress.getAllByName(named.getHostString())) {
          found.add(new EquivalentAddressGroup(new InetSocketAddress(one, named.getPort())));
        }
      } catch (UnknownHostException unknown) {
        failed = unknown;
      }
    }
    if (found.isEmpty()) {
      listener.onError(
          Status.UNAVAILABLE.withDescription("name resolution failed").withCause(failed));
      return;
    }
    listener.onResult(
        ResolutionResult.newBuilder().setAddressesOrError(StatusOr.fromValue(found)).build());
  }

  private static final class Provider extends NameResolverProvider {
    @Override
    protected boolean isAvailable() {
      return true;
    }

    @Override
    protected int priority() {
      return 5;
    }

    @Override
    public String getDefaultScheme() {
      return SCHEME;
    }

    @Override
    public NameResolver newNameResolver(URI target, Args args) {
      if (!SCHEME.equals(target.getScheme())) {
        return null;
      }
      return new AddressListResolver(target.getPath().substring(1).split(","), args);
    }
  }
}
