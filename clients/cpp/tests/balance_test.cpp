// Several servers behind one client.

#include <gtest/gtest.h>

#include "scripted.h"

namespace semserve {
namespace {

Client client_of(const Scripted& left, const Scripted& right) {
  return Client(std::vector<std::string>{left.address(), right.address()});
}

/// Calls until both servers are connected.
void warm(const Client& client, const Scripted& left, const Scripted& right) {
  while (left.calls() == 0 || right.calls() == 0) client.embed({"text"});
}

TEST(Balancing, GoesToEachServerInTurn) {
  const Scripted left, right;
  const auto client = client_of(left, right);
  warm(client, left, right);
  const int lefts = left.calls(), rights = right.calls();
  for (int call = 0; call < 10; ++call) client.embed({"text"});
  EXPECT_EQ(5, left.calls() - lefts);
  EXPECT_EQ(5, right.calls() - rights);
}

TEST(Balancing, FailsNoCallWhereOneServerStops) {
  Scripted left, right;
  const auto client = client_of(left, right);
  warm(client, left, right);
  left.stop();
  for (int call = 0; call < 50; ++call) client.embed({"text"});
  EXPECT_GE(right.calls(), 50);
}

TEST(Balancing, LosesNoRequestOfAStreamWhoseServerStops) {
  Scripted left, right;
  const auto client = client_of(left, right);
  warm(client, left, right);
  int count = 0;
  auto answers = client.stream_embed(batches(200));
  for (const auto& answer : answers) {
    EXPECT_TRUE(is_right(answer));
    if (++count == 50) (left.streams() ? left : right).stop();
  }
  EXPECT_EQ(200, count);
  EXPECT_EQ(1, left.streams());
  EXPECT_EQ(1, right.streams());
}

TEST(Balancing, LeavesOutAServerThatSaysItDoesNotServe) {
  Scripted left, right;
  left.serve_not();
  const auto client = client_of(left, right);
  for (int call = 0; call < 10; ++call) client.embed({"text"});
  EXPECT_EQ(0, left.calls());
  EXPECT_EQ(10, right.calls());
}

TEST(Balancing, DoesNotAskForTheHealthWhereItIsToldNotTo) {
  Scripted server;
  server.serve_not();
  ClientOptions options;
  options.timeout = 5s;
  options.health_checks = false;
  Client(server.address(), options).embed({"text"});
  options.health_checks = true;
  EXPECT_EQ(StatusCode::UNAVAILABLE, code_of([&] { Client(server.address(), options).embed({"text"}); }));
}

TEST(Balancing, CostsNoCallWhereNobodyListens) {
  Scripted gone;
  gone.stop();
  const Scripted right;
  const auto client = client_of(gone, right);
  for (int call = 0; call < 10; ++call) client.embed({"text"});
  EXPECT_EQ(10, right.calls());
}

}  // namespace
}  // namespace semserve
