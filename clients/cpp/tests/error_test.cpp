#include "error.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "retry.h"

namespace semserve {
namespace {

google::rpc::Status status_of(StatusCode code, const std::string& message) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  return status;
}

TEST(AnError, OfAStatusKeepsItsFields) {
  google::rpc::BadRequest bad;
  auto* field = bad.add_field_violations();
  field->set_field("texts[1]");
  field->set_description("is empty");
  auto status = status_of(StatusCode::INVALID_ARGUMENT, "texts[1]: is empty");
  status.add_details()->PackFrom(bad);
  const auto error = ErrorBuilder::of(status);
  EXPECT_STREQ("semserve: INVALID_ARGUMENT: texts[1]: is empty", error.what());
  ASSERT_EQ(1u, error.violations().size());
  EXPECT_EQ("texts[1]", error.violations()[0].field);
  EXPECT_EQ("is empty", error.violations()[0].description);
}

TEST(AnError, OfAMessageOverALimitIsABadRequest) {
  const auto large =
      status_of(StatusCode::RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (5 vs. 4)");
  EXPECT_EQ(StatusCode::INVALID_ARGUMENT, ErrorBuilder::of(large).code());
  const auto full = status_of(StatusCode::RESOURCE_EXHAUSTED, "the queue is full");
  EXPECT_EQ(StatusCode::RESOURCE_EXHAUSTED, ErrorBuilder::of(full).code());
}

TEST(Retries, AreOfOverloadsAndOutagesAndNothingElse) {
  for (int number = 1; number <= 16; ++number) {
    const auto code = static_cast<StatusCode>(number);
    const bool is_overload = code == StatusCode::RESOURCE_EXHAUSTED, is_outage = code == StatusCode::UNAVAILABLE;
    EXPECT_EQ(is_overload || is_outage, retry_after(Error(code, "no"), 1, Retries::kOverloadAndOutage).has_value());
    EXPECT_EQ(is_overload, retry_after(Error(code, "no"), 1, Retries::kOverload).has_value());
  }
}

TEST(Retries, EndWithTheFourthAttempt) {
  const Error full(StatusCode::RESOURCE_EXHAUSTED, "full");
  EXPECT_TRUE(retry_after(full, 3, Retries::kOverload).has_value());
  EXPECT_FALSE(retry_after(full, 4, Retries::kOverload).has_value());
}

TEST(Retries, BackOffExponentiallyWithJitter) {
  const Error full(StatusCode::RESOURCE_EXHAUSTED, "full");
  for (const auto& [attempt, milliseconds] : {std::pair{1, 100.0}, {2, 200.0}, {3, 400.0}}) {
    for (int time = 0; time < 100; ++time) {
      const auto wait = static_cast<double>(retry_after(full, attempt, Retries::kOverload)->count());
      EXPECT_GE(wait, 0.8 * milliseconds - 1);
      EXPECT_LE(wait, 1.2 * milliseconds);
    }
  }
}

}  // namespace
}  // namespace semserve
