#include "refusal.h"

#include <gtest/gtest.h>

#include "semserve/v1/classification.pb.h"
#include "semserve/v1/embedding.pb.h"
#include "scripted.h"
#include "text.h"

namespace semserve {
namespace {

TEST(Utf8, IsToldFromWhatIsNot) {
  for (const std::string good : {"", "plain", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const std::string bad : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff",
                                "\xe2\x82", "\xe2\x28\xa1", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
  EXPECT_TRUE(is_utf8(std::string("\0", 1)));
}

TEST(ARefusal, NamesEachFieldThatIsNotUtf8) {
  v1::ClassifyRequest request;
  request.add_pairs()->set_premise("good");
  auto* bad = request.add_pairs();
  bad->set_premise("\xff");
  bad->set_hypothesis("\xff");
  const auto refused = refusal(request);
  ASSERT_TRUE(refused);
  EXPECT_EQ(StatusCode::INVALID_ARGUMENT, refused->code());
  ASSERT_EQ(2u, refused->violations().size());
  EXPECT_EQ("pairs[1].premise", refused->violations()[0].field);
  EXPECT_EQ("pairs[1].hypothesis", refused->violations()[1].field);
}

TEST(ARefusal, NamesSixteenFieldsAtMost) {
  v1::EmbedRequest request;
  for (int text = 0; text < 40; ++text) request.add_texts("\xff");
  EXPECT_EQ(16u, refusal(request)->violations().size());
}

TEST(ARefusal, IsNotOfGoodRequests) { EXPECT_FALSE(refusal(v1::EmbedRequest())); }

TEST(ARefusal, OfACallSendsNothing) {
  const Scripted server;
  EXPECT_EQ(StatusCode::INVALID_ARGUMENT, code_of([&] { server.client().embed({"\xff"}); }));
  EXPECT_EQ(0, server.calls());
}

TEST(ARefusal, OfOneRequestLetsTheStreamGoOn) {
  const Scripted server;
  auto answers = server.client().stream_embed(
      source<std::string>({{"bad", {"good", "\xff"}}, {"0", {"x"}}}));
  const auto bad = answers.next();
  ASSERT_TRUE(bad && bad->error);
  EXPECT_EQ("texts[1]", bad->error->violations().at(0).field);
  EXPECT_TRUE(is_right(*answers.next()));
  EXPECT_FALSE(answers.next());
}

}  // namespace
}  // namespace semserve
