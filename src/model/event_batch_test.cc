#include "model/event_batch.h"

#include <gtest/gtest.h>

#include "testing/packed_records.h"
#include "testing/status_matchers.h"

namespace millrace::model {
namespace {

FetchedRecords Five() {
  FetchedRecords fetched{.source = {"t", 1}, .range = {10, 30}, .generation = 7};
  for (const Offset offset : {12, 13, 20, 21, 25})
    fetched.records.push_back({.offset = offset, .payload = "ten bytes."});
  fetched.bytes = 50;
  return fetched;
}

TEST(RawRecord, ReadsItsHeadersFromWhereTheyLie) {
  EXPECT_TRUE(RawRecord{}.Headers().empty());
  const std::vector<std::pair<std::string, std::optional<std::string>>> owned = {
      {"a", "1"}, {"a", ""}, {"none", std::nullopt}};
  RawRecord record;
  record.SetHeaders(&owned);
  const RecordHeaders read = RawRecord(record).Headers();
  EXPECT_EQ(read, RecordHeaders({{"a", "1"}, {"a", ""}, {"none", std::nullopt}}));
  EXPECT_EQ(read[0].second->data(), owned[0].second->data()) << "a view";
}

TEST(ForEachPiece, AFetchThatIsNotPackedIsOnePiece) {
  const FetchedRecords fetched = Five();
  FetchedRecords piece;
  int calls = 0;
  MILLRACE_ASSERT_OK(ForEachPiece(fetched, 1, 1, &piece, [&](const FetchedRecords& whole) {
    EXPECT_EQ(&whole, &fetched);
    ++calls;
    return Status::OK();
  }));
  EXPECT_EQ(calls, 1);
}

TEST(ForEachPiece, PiecesCoverAPackedFetch) {
  const FetchedRecords packed = testing::Packed(Five());
  FetchedRecords piece;
  std::vector<OffsetRange> ranges;
  std::vector<std::size_t> counts;
  MILLRACE_ASSERT_OK(ForEachPiece(packed, 2, 1000, &piece, [&](const FetchedRecords& read) {
    EXPECT_EQ(read.source, packed.source);
    EXPECT_EQ(read.generation, 7);
    EXPECT_EQ(read.packed, nullptr);
    ranges.push_back(read.range);
    counts.push_back(read.records.size());
    return Status::OK();
  }));
  EXPECT_EQ(ranges, (std::vector<OffsetRange>{{10, 14}, {14, 22}, {22, 30}}));
  EXPECT_EQ(counts, (std::vector<std::size_t>{2, 2, 1}));
  EXPECT_EQ(piece.owner, nullptr) << "the buffers are let go of";
}

TEST(ForEachPiece, TheFirstErrorEndsIt) {
  int calls = 0;
  FetchedRecords piece;
  const auto count = [&](const FetchedRecords&) {
    ++calls;
    return Status::OK();
  };
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ForEachPiece(testing::Packed(Five(), 20), 2, 1000, &piece, count));
  EXPECT_EQ(calls, 1);
  const auto refuse = [&](const FetchedRecords&) -> Status { return Transient("no"); };
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, ForEachPiece(testing::Packed(Five()), 2, 1000, &piece, refuse));
}

TEST(Unpack, ReadsAllAtOnce) {
  FetchedRecords fetched = testing::Packed(Five());
  MILLRACE_ASSERT_OK(Unpack(&fetched));
  EXPECT_EQ(fetched.packed, nullptr);
  EXPECT_EQ(fetched.range, (OffsetRange{10, 30}));
  EXPECT_EQ(fetched.records.size(), 5u);
  EXPECT_EQ(fetched.bytes, 50u);
  MILLRACE_ASSERT_OK(Unpack(&fetched));  // Again: it is not packed.
  EXPECT_EQ(fetched.records.size(), 5u);
  fetched = testing::Packed(Five(), 13);
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, Unpack(&fetched));
}

}  // namespace
}  // namespace millrace::model
