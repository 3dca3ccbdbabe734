#include "pipeline/letter_notice.h"

#include <gtest/gtest.h>

#include <vector>

namespace millrace::pipeline {
namespace {

using namespace std::chrono_literals;

model::DeadLetter Letter(model::Offset offset, const std::string& reason) {
  model::DeadLetter letter;
  letter.source = {"events", 3};
  letter.offset = offset;
  letter.stage = "decode";
  letter.reason = reason;
  letter.detail = "field 'id': expected int64";
  return letter;
}

TEST(LetterNotice, TheFirstIsToldOfAtOnceAndTheOthersOnceAMinute) {
  const LetterNotice::Time start{};
  LetterNotice notice;
  EXPECT_EQ(notice.TakeDue(start), std::nullopt);
  notice.Add(std::vector{Letter(7, "bad_json")});
  EXPECT_EQ(notice.TakeDue(start),
            "1 dead letter (bad_json 1), the last of events[3] at offset 7: decode: field 'id': expected int64");
  EXPECT_EQ(notice.TakeDue(start + 2min), std::nullopt) << "once";

  notice.Add(std::vector{Letter(8, "bad_json"), Letter(9, "type_mismatch")});
  notice.Add(std::vector{Letter(12, "type_mismatch")});
  EXPECT_EQ(notice.TakeDue(start + 59s), std::nullopt);
  EXPECT_EQ(notice.TakeDue(start + 60s),
            "3 dead letters (bad_json 1, type_mismatch 2), the last of events[3] at offset 12: decode: field 'id': "
            "expected int64");
  EXPECT_EQ(notice.TakeDue(start + 5min), std::nullopt);
}

TEST(LetterNotice, TheEndTellsOfWhatIsLeft) {
  LetterNotice notice;
  EXPECT_EQ(notice.TakeAll(), std::nullopt);
  notice.Add(std::vector{Letter(1, "bad_json")});
  EXPECT_TRUE(notice.TakeDue({}));
  EXPECT_EQ(notice.TakeAll(), std::nullopt);
  notice.Add(std::vector{Letter(2, "bad_json")});
  notice.Add({});
  EXPECT_EQ(notice.TakeDue({}), std::nullopt);
  EXPECT_EQ(notice.TakeAll(),
            "1 dead letter (bad_json 1), the last of events[3] at offset 2: decode: field 'id': expected int64");
  EXPECT_EQ(notice.TakeAll(), std::nullopt);
}

}  // namespace
}  // namespace millrace::pipeline
