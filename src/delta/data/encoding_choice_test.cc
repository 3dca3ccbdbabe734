#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <string>

#include "delta/data/encoding_choice_internal.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

using IntegerOf = std::function<std::int64_t(std::int64_t row)>;

ValueEncoding Choose(const std::shared_ptr<arrow::Array>& rows) {
  const auto schema = arrow::schema({arrow::field("x", rows->type())});
  // In pieces that begin within their arrays.
  std::vector<std::shared_ptr<arrow::RecordBatch>> sample;
  for (std::int64_t begin = 0; begin < rows->length(); begin += 1000) {
    const auto piece = rows->Slice(begin, std::min<std::int64_t>(1000, rows->length() - begin));
    sample.push_back(arrow::RecordBatch::Make(schema, piece->length(), {piece}));
  }
  return ChooseEncoding(sample, 0, 1).ValueOrDie();
}

template <typename Builder>
ValueEncoding ChooseFor(Builder builder, const IntegerOf& value, std::int64_t rows = kSampleRows) {
  using Stored = typename Builder::value_type;
  for (std::int64_t i = 0; i < rows; ++i) MILLRACE_CHECK(builder.Append(static_cast<Stored>(value(i))).ok());
  return Choose(builder.Finish().ValueOrDie());
}

ValueEncoding ChooseForInts(const IntegerOf& value) { return ChooseFor(arrow::Int64Builder(), value); }

// Of 18 digits, which Parquet stores as int64.
struct Decimals : arrow::Decimal128Builder {
  using value_type = arrow::Decimal128;
  Decimals() : arrow::Decimal128Builder(arrow::decimal128(18, 2)) {}
};

std::mt19937_64 Random() { return std::mt19937_64(7); }

TEST(EncodingChoiceTest, FewDistinctValuesAreADictionary) {
  auto random = Random();
  EXPECT_EQ(ChooseForInts([](std::int64_t) { return 200; }), ValueEncoding::kDictionary);
  EXPECT_EQ(ChooseForInts([](std::int64_t row) { return 1'700'000'000'000 + row / 100; }), ValueEncoding::kDictionary);
  EXPECT_EQ(ChooseForInts([&](std::int64_t) { return random() % 600 * 1000; }), ValueEncoding::kDictionary);
}

TEST(EncodingChoiceTest, TimesThatRiseAreDifferencesThoughSomeAreEqual) {
  for (const std::int64_t most : {2, 5, 20, 200}) {
    auto random = Random();
    std::int64_t time = 1'700'000'000'000'000;
    const auto next = [&](std::int64_t) { return time += static_cast<std::int64_t>(random() % most); };
    EXPECT_EQ(ChooseForInts(next), ValueEncoding::kDelta) << most;
    EXPECT_EQ(ChooseFor(arrow::TimestampBuilder(arrow::timestamp(arrow::TimeUnit::MICRO), arrow::default_memory_pool()),
                        next),
              ValueEncoding::kDelta)
        << most;
    EXPECT_EQ(ChooseFor(Decimals(), next), ValueEncoding::kDelta) << most;
  }
}

TEST(EncodingChoiceTest, IntegersOfChanceAreADictionaryWhileTheyRepeat) {
  const auto of = [](std::uint64_t distinct) {
    auto random = Random();
    return ChooseForInts([&](std::int64_t) { return static_cast<std::int64_t>(random() % distinct) * 1'000'003; });
  };
  EXPECT_EQ(of(2'000), ValueEncoding::kDictionary);
  EXPECT_EQ(of(5'000), ValueEncoding::kDictionary);
  EXPECT_EQ(of(100'000), ValueEncoding::kDelta);
}

TEST(EncodingChoiceTest, ExtremesDoNotOverflow) {
  const std::int64_t extremes[] = {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()};
  EXPECT_EQ(ChooseForInts([&](std::int64_t row) { return row % 8 != 0 ? row : extremes[row / 8 % 2]; }),
            ValueEncoding::kDelta);
  EXPECT_EQ(ChooseForInts([&](std::int64_t row) { return row % 3 != 0 ? row / 3 : extremes[row % 2]; }),
            ValueEncoding::kDictionary);
}

TEST(EncodingChoiceTest, NullsDoNotCount) {
  arrow::Int64Builder builder;
  for (std::int64_t i = 0; i < kSampleRows; ++i) {
    MILLRACE_CHECK((i % 2 == 0 ? builder.Append(i / 3) : builder.AppendNull()).ok());
  }
  EXPECT_EQ(Choose(builder.Finish().ValueOrDie()), ValueEncoding::kDelta);
  EXPECT_EQ(Choose(arrow::MakeArrayOfNull(arrow::int64(), kSampleRows).ValueOrDie()), ValueEncoding::kDictionary);
}

TEST(EncodingChoiceTest, ManyDoublesAndTextsArePlain) {
  auto random = Random();
  EXPECT_EQ(ChooseFor(arrow::DoubleBuilder(), [](std::int64_t row) { return row % 50; }), ValueEncoding::kDictionary);
  EXPECT_NE(ChooseFor(arrow::DoubleBuilder(), [&](std::int64_t) { return static_cast<std::int64_t>(random()); }),
            ValueEncoding::kDictionary);
  arrow::StringBuilder ids;
  arrow::StringBuilder urls;
  for (std::int64_t i = 0; i < kSampleRows; ++i) {
    std::string id;
    for (int digit = 0; digit < 32; ++digit) id += "0123456789abcdef"[random() % 16];
    MILLRACE_CHECK(ids.Append(id).ok());
    MILLRACE_CHECK(urls.Append("https://example.org/a/long/path/that/repeats/" + std::to_string(i)).ok());
  }
  EXPECT_EQ(Choose(ids.Finish().ValueOrDie()), ValueEncoding::kPlainLiterals);
  EXPECT_EQ(Choose(urls.Finish().ValueOrDie()), ValueEncoding::kPlain);
}

TEST(EncodingChoiceTest, FewRowsSayNothing) {
  EXPECT_EQ(ChooseFor(
                arrow::Int64Builder(), [](std::int64_t row) { return row; }, 63),
            ValueEncoding::kDictionary);
  EXPECT_EQ(ChooseFor(
                arrow::Int64Builder(), [](std::int64_t row) { return row; }, 64),
            ValueEncoding::kDelta);
  EXPECT_EQ(ChooseEncoding({}, 0, 1).ValueOrDie(), ValueEncoding::kDictionary);
}

}  // namespace
}  // namespace millrace::delta
