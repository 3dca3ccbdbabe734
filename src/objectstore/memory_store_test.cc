// A store in memory keeps what object_store.h promises of every store.
#include "objectstore/memory_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "testing/status_matchers.h"

namespace millrace::objectstore {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Keys(ObjectStore& store, const std::string& prefix, const std::string& start_after = "") {
  std::vector<std::string> keys;
  for (const auto& info : store.List(prefix, start_after).ValueOrDie()) keys.push_back(info.key);
  return keys;
}

std::string Text(ObjectStore& store, const std::string& key) { return store.Read(key).ValueOrDie()->ToString(); }

TEST(MemoryStore, OfManyWritersOneWinsAndNothingIsReplaced) {
  const auto store = MakeMemoryStore();
  std::atomic<int> created{0};
  std::vector<std::thread> writers;
  for (int i = 0; i < 8; ++i) {
    writers.emplace_back([&, i] {
      for (int n = 0; n < 100; ++n) {
        const auto outcome =
            store->PutIfAbsent("log/" + std::to_string(n), std::string(10, static_cast<char>('a' + i)));
        if (outcome.ok() && *outcome == PutOutcome::kCreated) ++created;
      }
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(created, 100);
  EXPECT_EQ(Keys(*store, "log/").size(), 100u);
}

TEST(MemoryStore, PutReplacesAndReadersKeepWhatTheyHave) {
  const auto store = MakeMemoryStore();
  MILLRACE_ASSERT_OK(store->Put("a", "one"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto file, store->Open("a"));
  MILLRACE_ASSERT_OK(store->Put("a", "two"));
  EXPECT_EQ(Text(*store, "a"), "two");
  MILLRACE_ASSERT_OK(store->Delete("a"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto bytes, file->ReadAt(1, 2));
  EXPECT_EQ(bytes->ToString(), "ne");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto info, store->Stat("a"));
  EXPECT_FALSE(info.has_value());
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, store->Read("a"));
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, store->Open("a"));
  MILLRACE_ASSERT_OK(store->Delete("a"));
}

TEST(MemoryStore, AnUploadIsInvisibleUntilItIsFinished) {
  const auto store = MakeMemoryStore();
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto upload, store->StartUpload("part.parquet"));
  MILLRACE_ASSERT_OK(upload->Write("ab", 2));
  MILLRACE_ASSERT_OK(upload->Write("c", 1));
  EXPECT_EQ(upload->buffered_bytes(), 3);
  EXPECT_THAT(Keys(*store, ""), IsEmpty());
  MILLRACE_ASSERT_OK(upload->Finish());
  EXPECT_TRUE(upload->closed());
  EXPECT_EQ(Text(*store, "part.parquet"), "abc");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto info, store->Stat("part.parquet"));
  EXPECT_EQ(info->size, 3);
  EXPECT_GT(info->modified, 0);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, upload->Finish());

  MILLRACE_ASSERT_OK_AND_ASSIGN(auto dropped, store->StartUpload("dropped"));
  MILLRACE_ASSERT_OK(dropped->Write("x", 1));
  dropped.reset();
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto closed, store->StartUpload("closed"));
  MILLRACE_ASSERT_OK(closed->Close());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, closed->Finish());
  EXPECT_THAT(Keys(*store, ""), ElementsAre("part.parquet"));
}

TEST(MemoryStore, ListsByBytesAfterAKey) {
  const auto store = MakeMemoryStore();
  for (const char* key : {"t/b", "t/a/x", "t2", "s", "t/B"}) MILLRACE_ASSERT_OK(store->Put(key, ""));
  EXPECT_THAT(Keys(*store, "t/"), ElementsAre("t/B", "t/a/x", "t/b"));
  EXPECT_THAT(Keys(*store, "t/", "t/a/x"), ElementsAre("t/b"));
  EXPECT_THAT(Keys(*Below(store, "t"), "", "B"), ElementsAre("a/x", "b"));
}

TEST(MemoryStore, RefusesKeysThatAreNone) {
  const auto store = MakeMemoryStore();
  for (const char* key : {"", "/a", "a/", "a/../b"}) {
    SCOPED_TRACE(key);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store->Put(key, ""));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store->PutIfAbsent(key, ""));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store->StartUpload(key));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store->Read(key));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store->Stat(key));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store->Delete(key));
  }
}

}  // namespace
}  // namespace millrace::objectstore
