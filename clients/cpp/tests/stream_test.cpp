// Streams that shed, stall, break, or are left.

#include <future>
#include <set>

#include <gtest/gtest.h>

#include "scripted.h"

namespace semserve {
namespace {

using Sent = v1::StreamEmbedRequest;

/// Reads all answers; each has to be right, and each request to have one.
void read_all(Answers<Embeddings> answers, std::size_t count) {
  std::set<std::string> seen;
  for (const auto& answer : answers) {
    EXPECT_TRUE(is_right(answer)) << answer.id;
    EXPECT_TRUE(seen.insert(answer.id).second) << answer.id;
  }
  EXPECT_EQ(count, seen.size());
}

TEST(AStream, AnswersEveryRequestOnce) {
  const Scripted server;
  read_all(server.client().stream_embed(batches(100)), 100);
  EXPECT_EQ(1, server.streams());
}

TEST(AStream, OfNothingEnds) {
  const Scripted server;
  read_all(server.client().stream_embed(batches(0)), 0);
}

TEST(AStream, OutlivesItsClient) {
  const Scripted server;
  auto answers = Client(server.address()).stream_embed(batches(20));
  read_all(std::move(answers), 20);
}

TEST(AStream, SendsWhatWasShedAgain) {
  const Scripted server({}, [](int, auto& stream) {
    std::set<std::string> seen;
    for (Sent request; stream.Read(&request);) {
      stream.Write(seen.insert(request.id()).second ? shed(request) : answered(request));
    }
    return grpc::Status();
  });
  read_all(server.client().stream_embed(batches(20)), 20);
}

TEST(AStream, AnswersWithTheErrorWhatIsShedTooOften) {
  const Scripted server({}, [](int, auto& stream) {
    for (Sent request; stream.Read(&request);) stream.Write(shed(request));
    return grpc::Status();
  });
  auto answers = server.client().stream_embed(batches(1));
  const auto answer = answers.next();
  ASSERT_TRUE(answer && answer->error);
  EXPECT_EQ(StatusCode::RESOURCE_EXHAUSTED, answer->error->code());
  EXPECT_THROW(answer->value(), Error);
  EXPECT_FALSE(answers.next());
}

TEST(AStream, ReadsNoFurtherAheadThanItsBound) {
  // It answers only what the bound does not let it wait for.
  const Scripted server({}, [](int, auto& stream) {
    std::vector<Sent> held;
    for (Sent request; stream.Read(&request);) {
      held.push_back(request);
      if (held.size() == 3) {
        stream.Write(answered(held.front()));
        held.erase(held.begin());
      }
      if (request.id() == "29") {
        for (const auto& one : held) stream.Write(answered(one));
      }
    }
    return grpc::Status();
  });
  int read = 0, taken = 0, most_ahead = 0;
  EmbedOptions options;
  options.in_flight = 3;
  auto answers = server.client().stream_embed(
      [&, source = batches(30)] {
        auto request = source();
        if (request) most_ahead = std::max(most_ahead, ++read - taken);
        return request;
      },
      options);
  for (const auto& answer : answers) {
    EXPECT_TRUE(is_right(answer));
    ++taken;
  }
  EXPECT_EQ(30, taken);
  EXPECT_EQ(3, most_ahead);
}

TEST(AStream, ThatBreaksIsOpenedAgainForWhatHasNoAnswer) {
  const Scripted server({}, [](int number, auto& stream) {
    for (Sent request; stream.Read(&request);) {
      stream.Write(answered(request));
      if (number < 6 && request.id().back() == '3') return grpc::Status(grpc::StatusCode::UNAVAILABLE, "stopping");
    }
    return grpc::Status();
  });
  read_all(server.client().stream_embed(batches(60)), 60);
  EXPECT_EQ(6, server.streams());
}

TEST(AStream, ThatBreaksFourTimesWithoutAnAnswerFails) {
  const Scripted server({}, [](int, auto& stream) {
    Sent request;
    stream.Read(&request);
    stream.SendInitialMetadata();  // so that gRPC itself does not open the stream again
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "stopping");
  });
  auto answers = server.client().stream_embed(batches(5));
  EXPECT_EQ(StatusCode::UNAVAILABLE, code_of([&] { answers.next(); }));
  EXPECT_FALSE(answers.next());
  EXPECT_EQ(4, server.streams());
}

TEST(AStream, ThatTheServerRefusesFailsWithItsError) {
  const Scripted server({}, [](int, auto&) {
    return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "who are you");
  });
  for (int time = 0; time < 10; ++time) {
    EXPECT_EQ(StatusCode::UNAUTHENTICATED, code_of([&] { read_all(server.client().stream_embed(batches(50)), 0); }));
  }
}

TEST(AStream, ThatTheServerEndsEarlyFails) {
  const Scripted server({}, [](int, auto&) { return grpc::Status(); });
  EXPECT_EQ(StatusCode::INTERNAL, code_of([&] { read_all(server.client().stream_embed(batches(5)), 0); }));
}

TEST(AStream, FailsOnAnAnswerToWhatWasNotAsked) {
  const Scripted server({}, [](int, auto& stream) {
    for (Sent request; stream.Read(&request);) {
      request.set_id("another");
      stream.Write(answered(request));
    }
    return grpc::Status();
  });
  EXPECT_EQ(StatusCode::INTERNAL, code_of([&] { read_all(server.client().stream_embed(batches(1)), 0); }));
}

TEST(AStream, WithoutAnAnswerForTheTimeoutFails) {
  const Scripted server({}, [](int, auto& stream) {
    for (Sent request; stream.Read(&request);) {
    }
    return grpc::Status();
  });
  EmbedOptions options;
  options.timeout = 50ms;
  EXPECT_EQ(StatusCode::DEADLINE_EXCEEDED,
            code_of([&] { read_all(server.client().stream_embed(batches(1), options), 0); }));
}

TEST(AStream, ThatIsLeftEndsAtTheServer) {
  std::promise<void> ended;
  const Scripted server({}, [&](int, auto& stream) {
    for (Sent request; stream.Read(&request);) stream.Write(answered(request));
    ended.set_value();
    return grpc::Status();
  });
  const auto client = server.client();
  {
    auto answers = client.stream_embed(batches(1'000'000));
    EXPECT_TRUE(is_right(*answers.next()));
  }
  ended.get_future().wait();
  client.embed({"another"});
}

TEST(AStream, EndsWhenItIsCancelled) {
  std::promise<void> began;
  const Scripted server({}, [&](int, auto& stream) {
    Sent request;
    stream.Read(&request);
    began.set_value();
    while (stream.Read(&request)) {
    }
    return grpc::Status();
  });
  EmbedOptions options;
  options.cancellation.emplace();
  auto call = std::async(std::launch::async, [&] {
    return code_of([&] { read_all(server.client().stream_embed(batches(1), options), 0); });
  });
  began.get_future().wait();
  options.cancellation->cancel();
  EXPECT_EQ(StatusCode::CANCELLED, call.get());
}

TEST(AStream, SendsARequestThatIsTooLargeForItByItself) {
  const Scripted server;
  const std::vector<std::size_t> sizes = {(3 << 20) + 1, 5 << 20, 1};
  std::vector<Request<std::string>> requests;
  for (const auto size : sizes) requests.push_back({std::to_string(size), {std::string(size, 'x')}});
  std::map<std::string, StatusCode> codes;
  auto answers = server.client().stream_embed(source(std::move(requests)));
  for (const auto& answer : answers) codes[answer.id] = answer.error ? answer.error->code() : StatusCode::OK;
  const std::map<std::string, StatusCode> expected = {{std::to_string(sizes[0]), StatusCode::OK},
                                                      {std::to_string(sizes[1]), StatusCode::INVALID_ARGUMENT},
                                                      {std::to_string(sizes[2]), StatusCode::OK}};
  EXPECT_EQ(expected, codes);
  EXPECT_EQ(1, server.calls());  // the other one was refused for its size before the script
}

}  // namespace
}  // namespace semserve
