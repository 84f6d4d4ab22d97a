// Unary calls: deadlines, retries, keys, sizes, cancellation.

#include <future>
#include <map>

#include <gtest/gtest.h>

#include "scripted.h"

namespace semserve {
namespace {

TEST(ACall, GivesVectorsInTheOrderOfTheTexts) {
  const Scripted server;
  const auto answer = server.client().embed({"four", "seventeen letters"});
  EXPECT_EQ("lengths", answer.model);
  EXPECT_EQ((std::vector<float>{4, 1}), answer.results[0].vector);
  EXPECT_EQ((std::vector<float>{17, 1}), answer.results[1].vector);
}

TEST(ACall, IsMadeAgainWhenAnOverloadedServerAsks) {
  const Scripted server([](int call, auto& context) { return call < 3 ? overloaded(context, "1") : grpc::Status(); });
  server.client().embed({"text"});
  EXPECT_EQ(3, server.calls());
}

TEST(ACall, IsMadeFourTimesAtMost) {
  const Scripted server([](int, auto& context) { return overloaded(context, "1"); });
  EXPECT_EQ(StatusCode::RESOURCE_EXHAUSTED, code_of([&] { server.client().embed({"text"}); }));
  EXPECT_EQ(4, server.calls());
}

TEST(ACall, IsNotMadeAgainWhereTheServerSaysNotTo) {
  for (const std::string said : {"-1", "soon"}) {
    const Scripted server([&](int, auto& context) { return overloaded(context, said); });
    EXPECT_EQ(StatusCode::RESOURCE_EXHAUSTED, code_of([&] { server.client().embed({"text"}); }));
    EXPECT_EQ(1, server.calls());
  }
}

TEST(ACall, DoesNotWaitPastItsDeadline) {
  const Scripted server([](int, auto& context) { return overloaded(context, "60000"); });
  try {
    server.client().embed({"text"});
    ADD_FAILURE() << "it was answered";
  } catch (const Error& error) {
    EXPECT_EQ(60s, error.retry_after());
  }
  EXPECT_EQ(1, server.calls());
}

TEST(ACall, TellsOtherErrorsAtOnce) {
  const Scripted server([](int, auto&) { return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such model"); });
  EXPECT_EQ(StatusCode::NOT_FOUND, code_of([&] { server.client().embed({"text"}); }));
  EXPECT_EQ(1, server.calls());
}

TEST(ACall, IsMadeAgainWhereTheServerIsUnavailableForAMoment) {
  const Scripted server([](int call, auto&) {
    return call == 1 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting") : grpc::Status();
  });
  server.client().embed({"text"});
  EXPECT_EQ(2, server.calls());
}

TEST(ACall, OfManyBytesIsMadeAgainToo) {
  const Scripted server([](int call, auto&) {
    return call == 1 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting") : grpc::Status();
  });
  server.client().embed({std::string(3 << 20, 'x')});
  EXPECT_EQ(2, server.calls());
}

TEST(ACall, CarriesTheKeyAndTheDeadline) {
  std::multimap<grpc::string_ref, grpc::string_ref> seen;
  std::string key;
  std::chrono::system_clock::time_point deadline;
  const Scripted server([&](int, auto& context) {
    deadline = context.deadline();
    for (const auto& [name, value] : context.client_metadata()) {
      if (name == "authorization") key.assign(value.data(), value.size());
    }
    return grpc::Status();
  });
  ClientOptions options;
  options.key = " secret\n";
  Client(server.address(), options).embed({"text"});
  EXPECT_EQ("Bearer secret", key);
  EXPECT_LT(deadline, std::chrono::system_clock::now() + 1h);
}

TEST(ACall, OverTheServersLimitIsABadRequest) {
  const Scripted server;
  EXPECT_EQ(StatusCode::INVALID_ARGUMENT, code_of([&] { server.client().embed({std::string(5 << 20, 'x')}); }));
}

TEST(ACall, ReadsAnAnswerOfManyMebibytes) {
  const Scripted server;
  const std::vector<std::string> texts(300'000, "x");
  EXPECT_EQ(texts.size(), server.client().embed(texts).results.size());
}

TEST(ACall, EndsWhenItIsCancelled) {
  std::promise<void> began;
  const Scripted server([&](int, auto& context) {
    began.set_value();
    while (!context.IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  });
  EmbedOptions options;
  options.cancellation.emplace();
  auto call = std::async(std::launch::async, [&] {
    return code_of([&] { server.client().embed({"text"}, options); });
  });
  began.get_future().wait();
  options.cancellation->cancel();
  EXPECT_EQ(StatusCode::CANCELLED, call.get());
}

TEST(ACall, IsNotMadeWhereItIsCancelledBefore) {
  const Scripted server;
  EmbedOptions options;
  options.cancellation.emplace().cancel();
  EXPECT_EQ(StatusCode::CANCELLED, code_of([&] { server.client().embed({"text"}, options); }));
  EXPECT_EQ(0, server.calls());
}

TEST(AClient, RefusesBadSettingsBeforeAnyCall) {
  const auto code = [](auto change) {
    ClientOptions options;
    change(options);
    return code_of([&] { Client("localhost:1", options); });
  };
  EXPECT_EQ(StatusCode::OK, code([](auto&) {}));
  EXPECT_EQ(StatusCode::INVALID_ARGUMENT, code([](auto& options) { options.key = "half a key"; }));
  EXPECT_EQ(StatusCode::INVALID_ARGUMENT, code([](auto& options) { options.key = "cl\xc3\xa9"; }));
  EXPECT_EQ(StatusCode::INVALID_ARGUMENT, code([](auto& options) { options.in_flight = 0; }));
  EXPECT_EQ(StatusCode::INVALID_ARGUMENT, code([](auto& options) { options.timeout = 0ms; }));
  EXPECT_EQ(StatusCode::INVALID_ARGUMENT, code([](auto& options) { options.certificate = "PEM"; }));
}

}  // namespace
}  // namespace semserve
