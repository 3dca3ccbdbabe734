#include <arrow/array.h>
#include <arrow/builder.h>
#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "delta/data/text_dictionary_internal.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

using Texts = std::vector<std::optional<std::string>>;

std::shared_ptr<arrow::StringArray> ArrayOf(const Texts& texts) {
  arrow::StringBuilder builder;
  for (const auto& text : texts) EXPECT_TRUE((text ? builder.Append(*text) : builder.AppendNull()).ok());
  return std::static_pointer_cast<arrow::StringArray>(builder.Finish().ValueOrDie());
}

// The texts that are not null, by the indices since the last ClearIndices() and the dictionary, which begins anew.
Texts Take(TextDictionary& dictionary) {
  const std::vector<std::int32_t> indices(dictionary.indices().begin(), dictionary.indices().end());
  dictionary.ClearIndices();
  EXPECT_TRUE(dictionary.indices().empty());
  const auto texts = dictionary.Take().ValueOrDie();
  EXPECT_EQ(texts->null_count(), 0);
  std::set<std::string> seen;
  for (std::int64_t i = 0; i < texts->length(); ++i) EXPECT_TRUE(seen.insert(texts->GetString(i)).second);
  Texts rows;
  for (const std::int32_t index : indices) rows.emplace_back(texts->GetString(index));
  return rows;
}

Texts WithoutNulls(Texts texts) {
  std::erase(texts, std::nullopt);
  return texts;
}

// Texts that are alike in their first bytes, prefixes of each other, hold zeros, and lie around the lengths at which
// the key changes its form; in several arrays, sliced, with nulls from the first one on or later.
TEST(TextDictionaryTest, GivesBackEveryRow) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    // Too few texts are expected, or too many.
    TextDictionary dictionary(arrow::default_memory_pool(), round % 3 * 300);
    for (int run = 0; run < 2; ++run) {
      Texts all;
      for (int batch = 0; batch < 4; ++batch) {
        Texts texts(random() % 700);
        const bool nulls = random() % 2 == 0;
        for (auto& text : texts) {
          if (nulls && random() % 5 == 0) continue;
          text = std::string(random() % 3 == 0 ? 14 + random() % 6 : random() % 40, 'a');
          for (char& c : *text) c = std::string_view("\0abz", 4)[random() % 8 == 0 ? random() % 4 : 1];
        }
        const std::size_t skipped = texts.empty() ? 0 : random() % texts.size();
        const auto slice =
            std::static_pointer_cast<arrow::StringArray>(ArrayOf(texts)->Slice(static_cast<std::int64_t>(skipped)));
        const auto begin = static_cast<std::int64_t>(slice->length() == 0 ? 0 : random() % slice->length());
        MILLRACE_ASSERT_OK_AND_ASSIGN(const std::int64_t end, dictionary.Add(*slice, begin, slice->length()));
        EXPECT_EQ(end, slice->length());
        all.insert(all.end(), texts.begin() + static_cast<std::ptrdiff_t>(skipped) + begin, texts.end());
      }
      EXPECT_FALSE(dictionary.full());
      EXPECT_EQ(Take(dictionary), WithoutNulls(all));
    }
  }
}

TEST(TextDictionaryTest, TakesRowsUntilItHasAMebibyte) {
  TextDictionary dictionary(arrow::default_memory_pool());
  Texts texts;
  for (int i = 0; i < 20'000; ++i) texts.emplace_back(std::to_string(i) + std::string(92, '-'));
  texts[7].reset();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const std::int64_t taken, dictionary.Add(*ArrayOf(texts), 0, std::ssize(texts)));
  EXPECT_TRUE(dictionary.full());
  EXPECT_GT(taken, 10'000);
  EXPECT_LT(taken, 11'000);
  EXPECT_EQ(Take(dictionary), WithoutNulls(Texts(texts.begin(), texts.begin() + taken)));
  EXPECT_FALSE(dictionary.full());
}

// Rows are looked up several at a time: it may be full anywhere among them.
TEST(TextDictionaryTest, EndsBehindTheRowThatFillsIt) {
  for (std::int64_t rows = 1; rows <= 100; ++rows) {
    TextDictionary dictionary(arrow::default_memory_pool());
    Texts texts;
    for (std::int64_t i = 0; i < rows + 3; ++i) {
      const auto size = static_cast<std::size_t>((TextDictionary::kBytesMax + rows - 1) / rows - 4);
      texts.emplace_back(std::string(size, static_cast<char>(i)));
      if (rows % 3 == 0) texts.emplace_back();
    }
    const std::int64_t begin = rows % 2;
    MILLRACE_ASSERT_OK_AND_ASSIGN(const std::int64_t end, dictionary.Add(*ArrayOf(texts), begin, std::ssize(texts)));
    EXPECT_TRUE(dictionary.full());
    EXPECT_EQ(std::ssize(dictionary.indices()), rows);
    EXPECT_EQ(std::ssize(WithoutNulls(Texts(texts.begin() + begin, texts.begin() + end))), rows);
  }
}

TEST(TextDictionaryTest, ATextBeyondAMebibyteIsNotTaken) {
  TextDictionary dictionary(arrow::default_memory_pool());
  const Texts texts = {"a", std::string((1 << 20) + 1, 'x'), "b"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const std::int64_t taken, dictionary.Add(*ArrayOf(texts), 0, std::ssize(texts)));
  EXPECT_EQ(taken, 1);
  EXPECT_TRUE(dictionary.full());
  EXPECT_EQ(Take(dictionary), Texts{"a"});
}

// Sixteen bytes whose first half cancels the hash's first factor: all of them want the same slot.
TEST(TextDictionaryTest, GivesUpOnTextsChosenToCollide) {
  TextDictionary dictionary(arrow::default_memory_pool());
  const std::uint64_t cancelling = 0x9E37'79B9'7F4A'7C15 ^ 16;
  Texts texts;
  for (std::uint64_t i = 0; i < 5'000; ++i) {
    std::string text(16, '\0');
    std::memcpy(text.data(), &cancelling, 8);
    std::memcpy(text.data() + 8, &i, 8);
    texts.emplace_back(text);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const std::int64_t taken, dictionary.Add(*ArrayOf(texts), 0, std::ssize(texts)));
  EXPECT_TRUE(dictionary.full());
  EXPECT_GT(taken, 200);
  EXPECT_LT(taken, 300);
  EXPECT_EQ(Take(dictionary), WithoutNulls(Texts(texts.begin(), texts.begin() + taken)));
}

TEST(TextDictionaryTest, NullsAlone) {
  TextDictionary dictionary(arrow::default_memory_pool());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const std::int64_t taken, dictionary.Add(*ArrayOf(Texts(3)), 0, 3));
  EXPECT_EQ(taken, 3);
  EXPECT_TRUE(dictionary.indices().empty());
  EXPECT_EQ(dictionary.Take().ValueOrDie()->length(), 0);
}

// Rows that are encoded already, by one dictionary after the other: only texts that a row has are taken over.
TEST(TextDictionaryTest, TakesOverOtherDictionaries) {
  TextDictionary dictionary(arrow::default_memory_pool());
  const auto encoded = [](const Texts& texts, const std::vector<std::optional<std::int32_t>>& codes) {
    arrow::Int32Builder builder;
    for (const auto& code : codes) EXPECT_TRUE((code ? builder.Append(*code) : builder.AppendNull()).ok());
    return arrow::DictionaryArray(arrow::dictionary(arrow::int32(), arrow::utf8()), builder.Finish().ValueOrDie(),
                                  ArrayOf(texts));
  };
  MILLRACE_ASSERT_OK(dictionary.Add(encoded({"a", "b", "unused"}, {0, 1, {}, 1}), 1, 4).status());
  MILLRACE_ASSERT_OK(dictionary.Add(encoded({"c", "a", "b"}, {0, 1, 2}), 0, 3).status());
  MILLRACE_ASSERT_OK(dictionary.Add(*ArrayOf({"b", "d"}), 0, 2).status());
  EXPECT_EQ(std::vector<std::int32_t>(dictionary.indices().begin(), dictionary.indices().end()),
            (std::vector<std::int32_t>{0, 0, 1, 2, 0, 0, 3}));
  EXPECT_EQ(Take(dictionary), (Texts{"b", "b", "c", "a", "b", "b", "d"}));
}

}  // namespace
}  // namespace millrace::delta
