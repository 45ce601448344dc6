// Names, order and numbers of live rules: a number is given again only when no packet waits for its
// last rule's action.
#include "emulator/dpdk/rule_book.h"

#include <gtest/gtest.h>

#include <map>

namespace farspan::dpdk {
namespace {

config::Rule Named(std::string name, uint8_t after = 0) {
  config::Rule rule;
  rule.name = std::move(name);
  rule.conditions.after = after;
  return rule;
}

class Book : public testing::Test {
 protected:
  RuleBook book_{{Named("a"), Named("b")}, [this](uint8_t number) { return tallies_[number]; }};

  uint8_t add(const std::string& name) {
    const auto edit = book_.add(Named(name));
    EXPECT_TRUE(edit) << edit.error().text();
    book_.commit(*edit, TimeNs{++now_});
    return edit->added->number;
  }
  RuleBook::Edit remove(const std::optional<std::string>& name) {
    const auto edit = book_.remove(name);
    EXPECT_TRUE(edit) << edit.error().text();
    book_.commit(*edit, TimeNs{++now_});
    return *edit;
  }

  std::map<uint8_t, RuleTally> tallies_;
  int64_t now_ = 0;
};

TEST_F(Book, NewRulesStandLastAndOldOnesKeepTheirCounts) {
  const auto edit = book_.add(Named("c"));
  ASSERT_TRUE(edit);
  ASSERT_EQ(edit->placed.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(edit->placed[i].number, i + 1);
    EXPECT_EQ(edit->placed[i].fresh, i == 2);
  }
  EXPECT_EQ(book_.records().size(), 2u) << "not before it has taken effect";
  EXPECT_EQ(remove("a").placed.size(), 1u);
}

TEST_F(Book, NamesAreUnique) {
  EXPECT_EQ(book_.add(Named("b")).error().code, ErrorCode::kConflict);
  EXPECT_EQ(book_.remove("c").error().code, ErrorCode::kNotFound);
  remove("b");
  EXPECT_EQ(book_.remove("b").error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(book_.add(Named("b")));
}

TEST_F(Book, ANumberWithPacketsInTheQueueIsNotGivenAgain) {
  tallies_[2] = {.matched = 9, .picked = 4, .hits = 2, .settled = 3};
  remove("b");
  EXPECT_EQ(add("c"), 3);
  tallies_[2] = {.matched = 9, .picked = 4, .hits = 3, .settled = 4};
  EXPECT_EQ(add("d"), 2);
  tallies_[2] = {};  // the new rule's
  const auto records = book_.records();
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(records[3].rule.name, "b");
  EXPECT_EQ(records[3].removed_at, TimeNs{1});
  EXPECT_EQ(records[3].tally.hits, 3u) << "what it did is kept";
  EXPECT_EQ(records[2].since, TimeNs{3});
}

TEST_F(Book, ARuleThatAnotherWaitsForStays) {
  const auto waiting = book_.add(Named("w", 1));
  ASSERT_TRUE(waiting);
  book_.commit(*waiting, {});
  EXPECT_EQ(book_.remove("a").error().code, ErrorCode::kConflict);
  EXPECT_EQ(remove(std::nullopt).removed.size(), 3u);
  EXPECT_TRUE(remove(std::nullopt).removed.empty());
}

TEST_F(Book, ThereIsAnEndToRules) {
  for (size_t i = 2; i < roce::kMaxRules; ++i) EXPECT_EQ(add(std::to_string(i)), i + 1);
  EXPECT_EQ(book_.add(Named("x")).error().code, ErrorCode::kConflict);
  tallies_[7].picked = 1;
  remove("6");
  EXPECT_EQ(book_.add(Named("x")).error().code, ErrorCode::kConflict);
  tallies_[7].settled = 1;
  EXPECT_EQ(add("x"), 7);
  for (int i = 0; i < 1'100; ++i) {
    remove("x");
    EXPECT_EQ(add("x"), 7);
  }
  EXPECT_EQ(book_.records().size(), roce::kMaxRules + RuleBook::kMostRemembered);
}

}  // namespace
}  // namespace farspan::dpdk
