#include "model/readable_letters.h"

#include <gtest/gtest.h>

#include "testing/batch_from_json.h"

namespace millrace::model {
namespace {

TEST(ReadableLetters, ShowBytesAsTextWhereTheyAreOne) {
  const DeadLetter text{.source = {"clicks", 3},
                        .offset = 7,
                        .timestamp = 1'767'225'600'000'000,
                        .key = "ä",
                        .payload = "not json",
                        .headers = {{"a", "x"}, {"b", std::nullopt}, {"c", "\xFF"}},
                        .stage = "decode",
                        .reason = "bad_json",
                        .detail = "no"};
  DeadLetter bytes = text;
  bytes.index = 4;
  bytes.key.reset();
  bytes.payload = std::string("\x00\xFF", 2);
  bytes.headers.clear();
  const auto batch = ToReadableBatch(std::vector{text, bytes});
  const auto want = testing::BatchFromJson(ReadableLetterSchema(), R"([
    ["clicks", 3, 7, 1767225600000000, "ä", "not json", [["a", "x"], ["b", null], ["c", "ff"]], "decode", "bad_json", "no", null],
    ["clicks", 3, 7, 1767225600000000, null, "00ff", [], "decode", "bad_json", "no", 4]])");
  EXPECT_TRUE(batch->Equals(*want)) << batch->ToString();
  EXPECT_EQ(ToReadableBatch({})->num_rows(), 0);
}

}  // namespace
}  // namespace millrace::model
