#include "flight.h"

#include <gtest/gtest.h>

namespace semserve {
namespace {

using namespace std::chrono_literals;

const Error kFull(StatusCode::RESOURCE_EXHAUSTED, "full");

Flight<std::string> flight_of(int bound, const std::vector<std::size_t>& sizes) {
  Flight<std::string> made(bound);
  for (std::size_t number = 0; number < sizes.size(); ++number) {
    made.add(number, "request " + std::to_string(number), "message", sizes[number]);
  }
  return made;
}

TEST(AFlight, HasRoomUpToItsBoundOfRequestsAndOfBytes) {
  constexpr auto most = Flight<std::string>::kMaxBytes;
  EXPECT_TRUE(flight_of(2, {1}).fits(1));
  EXPECT_FALSE(flight_of(2, {1, 1}).fits(1));
  EXPECT_FALSE(flight_of(8, {most}).fits(1));
  EXPECT_TRUE(flight_of(8, {}).fits(2 * most));
}

TEST(AFlight, GivesTheCallersNameAndMakesRoom) {
  auto flight = flight_of(1, {5});
  const auto now = Clock::now();
  const auto settled = flight.settle(0, nullptr, now, now);
  EXPECT_EQ(Settled::kAnswered, settled.outcome);
  EXPECT_EQ("request 0", settled.name);
  EXPECT_TRUE(flight.fits(Flight<std::string>::kMaxBytes));
}

TEST(AFlight, DoesNotKnowWhatTheServerDoesNotHave) {
  auto flight = flight_of(1, {5});
  EXPECT_EQ(Settled::kUnknown, flight.settle(7, nullptr, Clock::now(), Clock::now()).outcome);
}

TEST(AFlight, SendsWhatWasShedAgainWhenItIsDueAndFourTimesInAll) {
  auto flight = flight_of(1, {5});
  auto now = Clock::now();
  const auto limit = now + 60s;
  for (int attempt = 1; attempt < 4; ++attempt) {
    EXPECT_EQ(Settled::kAgain, flight.settle(0, &kFull, now, limit).outcome);
    EXPECT_TRUE(flight.take_due(now).empty());
    EXPECT_EQ(Settled::kUnknown, flight.settle(0, nullptr, now, limit).outcome);
    now = *flight.next_due();
    EXPECT_EQ(std::vector<std::uint64_t>{0}, flight.take_due(now));
    EXPECT_FALSE(flight.next_due());
  }
  EXPECT_EQ(Settled::kAnswered, flight.settle(0, &kFull, now, limit).outcome);
}

TEST(AFlight, AnswersWhatWouldWaitPastTheLimit) {
  auto flight = flight_of(1, {5});
  const auto now = Clock::now();
  EXPECT_EQ(Settled::kAnswered, flight.settle(0, &kFull, now, now).outcome);
}

}  // namespace
}  // namespace semserve
