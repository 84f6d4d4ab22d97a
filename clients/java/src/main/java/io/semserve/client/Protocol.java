package io.semserve.client;

import com.google.protobuf.Message;
import io.grpc.MethodDescriptor;
import java.util.List;

/** How one kind of stream writes requests and reads answers. */
interface Protocol<T, Q extends Message, A, R> {
  MethodDescriptor<Q, A> method();

  Q write(String name, List<T> items);

  /** Gives the name that {@link #write} got, and the result or the error, by {@link Answer}. */
  Answer<R> read(A answer);

  /** Asks without a stream. */
  R alone(List<T> items);
}
