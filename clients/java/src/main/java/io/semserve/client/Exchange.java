package io.semserve.client;

import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * One stream: a thread of its own reads the caller's requests and sends them; gRPC's threads queue
 * what comes; the caller's thread takes it, sends again what is due, and opens another stream where
 * one breaks. An answer makes room for another request only when the caller takes it, so that the
 * queue is bounded as the requests in flight are.
 */
final class Exchange<T, Q extends Message, A, R> implements AnswerStream<R> {
  /** A larger request is sent by itself: one that the server refuses ends a whole stream. */
  private static final int MAX_STREAM_REQUEST_BYTES = 3 << 20;

  /** What happened since the caller looked last; exactly one of the fields says what. */
  private record Event<A, R>(
      A received, Answer<R> early, Ended<A> ended, Throwable raised) {}

  /** How a call ended. */
  private record Ended<A>(ClientCall<?, A> call, Status status, Metadata trailers) {}

  private final Protocol<T, Q, A, R> protocol;
  private final Channel channel;
  private final long timeoutNanos;
  private final int inFlight;
  private final Context context = Context.current();
  private final Context.CancellationListener cancelled = ignored -> raise(cancelled());
  private final BlockingQueue<Event<A, R>> inbox = new LinkedBlockingQueue<>();

  // Guarded by this exchange's monitor.
  private final Flight<Q> flight;
  private ClientCall<Q, A> call;
  private long waitingSince;
  private int early;
  private boolean exhausted;
  private boolean halfClosed;
  private boolean closed;

  // Of the caller's thread.
  private Answer<R> next;
  private int breaks;
  private boolean finished;

  Exchange(Protocol<T, Q, A, R> protocol, Channel channel, Duration timeout, int inFlight) {
    this.protocol = protocol;
    this.channel = channel;
    this.timeoutNanos = timeout.toNanos();
    this.inFlight = inFlight;
    this.flight = new Flight<>(inFlight);
  }

  Exchange<T, Q, A, R> start(Iterator<Request<T>> requests) {
    context.addListener(cancelled, Runnable::run);
    open();
    Thread feeding = new Thread(context.wrap(() -> feed(requests)), "semserve-stream");
    feeding.setDaemon(true);
    feeding.start();
    return this;
  }

  @Override
  public boolean hasNext() {
    if (next == null && !finished) {
      try {
        next = await();
        finished = next == null;
      } catch (Throwable failed) {
        finished = true;
        close();
        throw failed;
      }
      if (finished) {
        close();
      }
    }
    return next != null;
  }

  @Override
  public Answer<R> next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    Answer<R> taken = next;
    next = null;
    return taken;
  }

  @Override
  public synchronized void close() {
    context.removeListener(cancelled);
    finished = true;
    closed = true;
    call.cancel("the stream was closed", null);
    notifyAll();
  }

  /** Waits for the next answer; null once every request has its own. */
  private Answer<R> await() {
    synchronized (this) {
      waitingSince = System.nanoTime();
    }
    for (; ; ) {
      Event<A, R> event = nextEvent();
      if (event.raised() != null) {
        throw unchecked(event.raised());
      } else if (event.early() != null) {
        takeEarly();
        return event.early();
      } else if (event.received() != null) {
        Optional<Answer<R>> answer = settle(protocol.read(event.received()));
        if (answer.isPresent()) {
          return answer.get();
        }
      } else if (ended(event.ended())) {
        return null;
      }
    }
  }

  private Event<A, R> nextEvent() {
    for (; ; ) {
      long wait;
      synchronized (this) {
        long now = System.nanoTime();
        flight.takeDue(now).forEach(call::sendMessage);
        long left = flight.isEmpty() ? timeoutNanos : waitingSince + timeoutNanos - now;
        if (left <= 0) {
          throw new SemserveException(
              Status.Code.DEADLINE_EXCEEDED,
              "no answer on the stream for " + Duration.ofNanos(timeoutNanos).toMillis() + " ms");
        }
        wait = Math.min(left, flight.untilDue(now).orElse(Long.MAX_VALUE));
      }
      try {
        Event<A, R> event = inbox.poll(wait, TimeUnit.NANOSECONDS);
        if (event != null) {
          return event;
        }
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
        throw new SemserveException(Status.Code.CANCELLED, "the thread was interrupted");
      }
    }
  }

  private synchronized void takeEarly() {
    early--;
    changed();
  }

  private synchronized Optional<Answer<R>> settle(Answer<R> answer) {
    Optional<String> id = flight.settle(answer.id(), answer.error(), System.nanoTime());
    breaks = 0;
    changed();
    return id.map(own -> new Answer<>(own, answer.result(), answer.error()));
  }

  /** Takes the end of a stream: true where all is answered, else another stream goes on. */
  private boolean ended(Ended<A> end) {
    synchronized (this) {
      if (end.call() != call) {
        return false;
      }
      if (exhausted && flight.isEmpty() && early == 0) {
        return true;
      }
    }
    if (end.status().isOk()) {
      throw new SemserveException(
          Status.Code.INTERNAL, "the server ended the stream before it had answered everything");
    }
    SemserveException failed =
        SemserveException.of(end.status().asRuntimeException(end.trailers()));
    Optional<Duration> wait = Retries.wait(failed, ++breaks);
    long left;
    synchronized (this) {
      left = waitingSince + timeoutNanos - System.nanoTime();
    }
    if (wait.isEmpty() || wait.get().toNanos() >= left) {
      throw failed;
    }
    Unary.sleep(wait.get());
    open();
    return false;
  }

  /** Opens a stream, and sends on it what another one had. */
  private synchronized void open() {
    // The wait for each answer is bounded, not the stream; and the context's deadline is.
    ClientCall<Q, A> opened = channel.newCall(protocol.method(), CallOptions.DEFAULT);
    opened.start(
        new ClientCall.Listener<>() {
          @Override
          public void onMessage(A message) {
            inbox.add(new Event<>(message, null, null, null));
            opened.request(1);
          }

          @Override
          public void onClose(Status status, Metadata trailers) {
            inbox.add(new Event<>(null, null, new Ended<>(opened, status, trailers), null));
          }
        },
        new Metadata());
    opened.request(1);
    call = opened;
    halfClosed = false;
    flight.sent().forEach(opened::sendMessage);
    changed();
  }

  /** Reads the caller's requests, as long as there is room. */
  private void feed(Iterator<Request<T>> requests) {
    int number = 0;
    try {
      while (room(0) && requests.hasNext()) {
        take(String.valueOf(number++), requests.next());
      }
    } catch (InterruptedException interrupted) {
      raise(interrupted); // nobody interrupts this thread but the caller's iterator
    } catch (Throwable failed) {
      raise(failed);
    }
    synchronized (this) {
      exhausted = true;
      changed();
    }
  }

  private void take(String name, Request<T> request) throws InterruptedException {
    try {
      Q message = protocol.write(name, request.items());
      int bytes = message.getSerializedSize();
      if (bytes > MAX_STREAM_REQUEST_BYTES) {
        answerEarly(new Answer<>(request.id(), protocol.alone(request.items()), null));
      } else if (room(bytes)) {
        send(name, request.id(), message, bytes);
      }
    } catch (SemserveException refused) {
      answerEarly(new Answer<>(request.id(), null, refused));
    }
  }

  private synchronized void send(String name, String id, Q message, int bytes) {
    if (flight.isEmpty()) {
      waitingSince = System.nanoTime();
    }
    flight.add(name, id, message, bytes);
    if (!closed) {
      call.sendMessage(message);
    }
  }

  private synchronized void answerEarly(Answer<R> answer) {
    early++;
    inbox.add(new Event<>(null, answer, null, null));
  }

  /** Waits until a request of so many bytes fits; false where the stream was closed. */
  private synchronized boolean room(int bytes) throws InterruptedException {
    while (!closed && !(flight.fits(bytes) && early < inFlight)) {
      wait();
    }
    return !closed;
  }

  /** Does what a change may allow: reads on, or ends the requests. */
  private synchronized void changed() {
    notifyAll();
    if (exhausted && flight.isEmpty() && early == 0 && !halfClosed && !closed) {
      halfClosed = true;
      call.halfClose();
    }
  }

  private void raise(Throwable raised) {
    inbox.add(new Event<>(null, null, null, raised));
  }

  private SemserveException cancelled() {
    return new SemserveException(
        context.getDeadline() != null && context.getDeadline().isExpired()
            ? Status.Code.DEADLINE_EXCEEDED
            : Status.Code.CANCELLED,
        "the context was cancelled");
  }

  private static RuntimeException unchecked(Throwable raised) {
    if (raised instanceof Error error) {
      throw error;
    }
    return raised instanceof RuntimeException runtime ? runtime : new IllegalStateException(raised);
  }
}
