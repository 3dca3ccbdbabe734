// What every store must do, asked of a real S3 server: s3_server.py starts one beside this test and says in the
// environment where it is. Each test has a prefix of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "base/uuid.h"
#include "objectstore/s3/s3_store.h"
#include "testing/status_matchers.h"

namespace millrace::objectstore::s3 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Timeouts that only a server that is really gone exceeds: test machines stand still now and then.
S3Options PatientOptions() {
  S3Options options;
  options.timeouts = {.connect = std::chrono::minutes(5), .stall = std::chrono::minutes(10)};
  options.retry.give_up_after = std::chrono::minutes(10);
  return options;
}

class S3Contract : public ::testing::Test {
 protected:
  void SetUp() override {
    bucket_ = Variable("S3_TEST_BUCKET");
    ASSERT_FALSE(bucket_.empty()) << "run this by tests/s3/s3_server.py run";
    prefix_ = "contract-" + RandomUuid();
    store_ = Open(IfMissing::kCreate);
  }
  std::shared_ptr<ObjectStore> Open(IfMissing if_missing, const S3Settings& settings = {}) {
    auto opened = OpenS3Store(bucket_, prefix_, if_missing, settings, PatientOptions());
    EXPECT_TRUE(opened.ok()) << opened.status();
    return opened.ValueOrDie();
  }
  std::vector<std::string> Keys(const std::string& prefix, const std::string& start_after = "") {
    std::vector<std::string> keys;
    for (const auto& info : store_->List(prefix, start_after).ValueOrDie()) keys.push_back(info.key);
    return keys;
  }
  std::string Text(const std::string& key) { return store_->Read(key).ValueOrDie()->ToString(); }
  void Upload(const std::string& key, const std::string& bytes, std::size_t piece) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto upload, store_->StartUpload(key));
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      const std::size_t n = std::min(piece, bytes.size() - at);
      MILLRACE_ASSERT_OK(upload->Write(bytes.data() + at, static_cast<std::int64_t>(n)));
    }
    MILLRACE_ASSERT_OK(upload->Finish());
  }

  std::string bucket_;
  std::string prefix_;
  std::shared_ptr<ObjectStore> store_;
};

// Bytes that tell where they belong, so that a part out of place is seen.
std::string Pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 2654435761u) >> 13);
  return bytes;
}

TEST_F(S3Contract, PutIfAbsentCreatesOnceAndNeverReplaces) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, store_->PutIfAbsent("t/_delta_log/0.json", "one"));
  EXPECT_EQ(first, PutOutcome::kCreated);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto second, store_->PutIfAbsent("t/_delta_log/0.json", "two"));
  EXPECT_EQ(second, PutOutcome::kExists);
  EXPECT_EQ(Text("t/_delta_log/0.json"), "one");
}

TEST_F(S3Contract, OfManyWritersOneWins) {
  constexpr int kKeys = 20;
  std::atomic<int> created{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> writers;
  for (int i = 0; i < 8; ++i) {
    writers.emplace_back([&, i] {
      for (int n = 0; n < kKeys; ++n) {
        const auto outcome =
            store_->PutIfAbsent("log/" + std::to_string(n), std::string(1000, static_cast<char>('a' + i)));
        created += outcome.ok() && *outcome == PutOutcome::kCreated ? 1 : 0;
        failed += outcome.ok() ? 0 : 1;
      }
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(created, kKeys);
  const auto keys = Keys("log/");
  EXPECT_EQ(keys.size(), static_cast<std::size_t>(kKeys));
  for (const auto& key : keys) {
    const std::string text = Text(key);
    EXPECT_EQ(text, std::string(1000, text[0]));
  }
}

TEST_F(S3Contract, PutReplacesAndMissingIsNotFound) {
  MILLRACE_ASSERT_OK(store_->Put("a", "1"));
  MILLRACE_ASSERT_OK(store_->Put("a", "22"));
  EXPECT_EQ(Text("a"), "22");
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, store_->Read("b"));
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, store_->Open("b"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto none, store_->Stat("b"));
  EXPECT_FALSE(none.has_value());
}

TEST_F(S3Contract, UploadsOfEverySizeArriveWhole) {
  constexpr std::size_t kPart = 8 << 20;
  // An empty one, one part exactly, one byte more, and several parts.
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, kPart, kPart + 1, 2 * kPart + 3'000'000}) {
    SCOPED_TRACE(size);
    const std::string bytes = Pattern(size);
    const std::string key = "d/" + std::to_string(size);
    Upload(key, bytes, 3'000'001);
    EXPECT_TRUE(Text(key) == bytes);
    EXPECT_EQ(store_->Stat(key).ValueOrDie()->size, static_cast<std::int64_t>(size));
  }
  EXPECT_EQ(store_->usage().Of(RequestKind::kMultipartPart), 2 + 3);
  EXPECT_EQ(store_->usage().Of(RequestKind::kMultipartEnd), 2);
}

TEST_F(S3Contract, AnUploadIsInvisibleUntilFinishedAndADroppedOneLeavesNoParts) {
  const std::string bytes = Pattern(20 << 20);
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto upload, store_->StartUpload("d/f"));
    MILLRACE_ASSERT_OK(upload->Write(bytes.data(), static_cast<std::int64_t>(bytes.size())));
    EXPECT_THAT(Keys(""), IsEmpty());
    EXPECT_FALSE(upload->closed());
  }
  store_.reset();  // Waits for what is on its way.
  const auto target = ResolveTarget(bucket_, {}, ProcessEnvironment()).ValueOrDie();
  S3Client client(target, ProcessEnvironment(), PatientOptions().timeouts, {});
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto pending, client.Send({.method = "GET", .query = {{"uploads", ""}, {"prefix", prefix_ + "/d/f"}}}));
  EXPECT_EQ(pending.status, 200);
  EXPECT_THAT(pending.body, Not(HasSubstr("<UploadId>")));
}

TEST_F(S3Contract, ListsDeepSortedByBytesAndAfterAKey) {
  for (const char* key : {"t/b", "t/a/x", "t/a-1", "u/a"}) MILLRACE_ASSERT_OK(store_->Put(key, "x"));
  EXPECT_THAT(Keys("t/"), ElementsAre("t/a-1", "t/a/x", "t/b"));
  EXPECT_THAT(Keys("t/a"), ElementsAre("t/a-1", "t/a/x"));
  EXPECT_THAT(Keys("t/", "t/a-1"), ElementsAre("t/a/x", "t/b"));
  EXPECT_THAT(Keys(""), ElementsAre("t/a-1", "t/a/x", "t/b", "u/a"));
  EXPECT_THAT(Keys("none/"), IsEmpty());
}

TEST_F(S3Contract, KeysOfAnyCharactersAreReadBackAsWritten) {
  const std::vector<std::string> keys = {
      "day=2024-01-02/f 1+2.parquet", "p/a%20b", "p/é ü/☃", "p/q?x=1&y=2#z", "p/~!@$'()*,;:=", "p/<&>\"x"};
  for (const auto& key : keys) {
    SCOPED_TRACE(key);
    MILLRACE_ASSERT_OK(store_->Put(key, key));
    EXPECT_EQ(Text(key), key);
    EXPECT_EQ(store_->Stat(key).ValueOrDie()->size, static_cast<std::int64_t>(key.size()));
  }
  auto sorted = keys;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(Keys(""), sorted);
  MILLRACE_ASSERT_OK(store_->DeleteMany(keys));
  EXPECT_THAT(Keys(""), IsEmpty());
}

TEST_F(S3Contract, ManyObjectsAreListedInPagesAndDeletedInBatches) {
  std::vector<std::string> keys;
  for (int i = 0; i < 1100; ++i) keys.push_back(fmt::format("m/{:04}", i));
  std::atomic<std::size_t> next{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      for (std::size_t n = next++; n < keys.size(); n = next++) failed += store_->Put(keys[n], "x").ok() ? 0 : 1;
    });
  }
  for (auto& writer : writers) writer.join();
  ASSERT_EQ(failed, 0);
  const auto lists = store_->usage().Of(RequestKind::kList);
  EXPECT_EQ(Keys("m/"), keys);
  EXPECT_EQ(store_->usage().Of(RequestKind::kList) - lists, 2);
  EXPECT_EQ(Keys("m/", "m/1049").size(), 50u);
  const auto before = store_->usage().Of(RequestKind::kDelete);
  keys.push_back("m/never-there");
  MILLRACE_ASSERT_OK(store_->DeleteMany(keys));
  EXPECT_EQ(store_->usage().Of(RequestKind::kDelete) - before, 2);
  EXPECT_THAT(Keys("m/"), IsEmpty());
}

TEST_F(S3Contract, StatAndDelete) {
  MILLRACE_ASSERT_OK(store_->Put("d/a", "12345"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto info, store_->Stat("d/a"));
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->size, 5);
  const UnixMicros now = SystemClock().Now();
  EXPECT_GT(info->modified, now - 3'600'000'000);
  EXPECT_LT(info->modified, now + 3'600'000'000);
  EXPECT_EQ(store_->List("d/").ValueOrDie()[0].modified / 1'000'000, info->modified / 1'000'000);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto folder, store_->Stat("d"));
  EXPECT_FALSE(folder.has_value()) << "a folder is not an object";
  MILLRACE_ASSERT_OK(store_->Delete("d/a"));
  MILLRACE_ASSERT_OK(store_->Delete("d/a"));
  EXPECT_THAT(Keys(""), IsEmpty());
}

TEST_F(S3Contract, ReadsRanges) {
  const std::string bytes = Pattern(300'000);
  MILLRACE_ASSERT_OK(store_->Put("a", bytes));
  MILLRACE_ASSERT_OK(store_->Put("empty", ""));
  const auto gets = store_->usage().Of(RequestKind::kGet);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto file, store_->Open("a"));
  EXPECT_EQ(file->GetSize().ValueOrDie(), 300'000);
  EXPECT_TRUE(file->ReadAt(299'990, 100).ValueOrDie()->ToString() == bytes.substr(299'990));
  EXPECT_EQ(store_->usage().Of(RequestKind::kGet) - gets, 1) << "the end of the file came with its size";
  EXPECT_TRUE(file->ReadAt(0, 1000).ValueOrDie()->ToString() == bytes.substr(0, 1000));
  EXPECT_TRUE(file->ReadAt(100'000, 200'000).ValueOrDie()->ToString() == bytes.substr(100'000));
  EXPECT_EQ(file->ReadAt(300'000, 10).ValueOrDie()->size(), 0);
  MILLRACE_ASSERT_OK(file->Seek(10));
  EXPECT_TRUE(file->Read(5).ValueOrDie()->ToString() == bytes.substr(10, 5));
  EXPECT_EQ(file->Tell().ValueOrDie(), 15);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto empty, store_->Open("empty"));
  EXPECT_EQ(empty->GetSize().ValueOrDie(), 0);

  MILLRACE_ASSERT_OK(store_->Put("a", Pattern(300'001)));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, file->ReadAt(0, 1000));
  MILLRACE_ASSERT_OK(store_->Delete("a"));
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, file->ReadAt(0, 1000));
}

TEST_F(S3Contract, BelowSeesOnlyItsPrefix) {
  auto table = Below(store_, "clicks");
  MILLRACE_ASSERT_OK(table->PutIfAbsent("_delta_log/0.json", "x"));
  MILLRACE_ASSERT_OK(store_->Put("clicks2/p", "z"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all, table->List(""));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].key, "_delta_log/0.json");
  EXPECT_EQ(table->uri(), "s3://" + bucket_ + "/" + prefix_ + "/clicks");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, table->Read("../clicks2/p"));
  MILLRACE_ASSERT_OK(table->DeleteMany({"_delta_log/0.json"}));
  EXPECT_THAT(Keys(""), ElementsAre("clicks2/p"));
}

TEST_F(S3Contract, TheProbeLeavesNothingAndReadersNeedSomethingToRead) {
  EXPECT_THAT(Keys(""), IsEmpty());
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, OpenS3Store(bucket_, prefix_, IfMissing::kRefuse, {}, PatientOptions()));
  MILLRACE_ASSERT_OK(store_->Put("t/a", "x"));
  const auto reader = Open(IfMissing::kRefuse);
  EXPECT_EQ(reader->usage().Of(RequestKind::kPut), 0);
}

TEST_F(S3Contract, RefusalsNameTheReasonAndNoSecret) {
  const auto no_bucket = OpenS3Store("no-such-bucket", "p", IfMissing::kCreate, {}, PatientOptions());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, no_bucket);
  EXPECT_THAT(no_bucket.status().message(), HasSubstr("no-such-bucket"));

  for (const auto& [id, secret] : {std::pair<std::string, std::string>{Variable("AWS_ACCESS_KEY_ID"), "wrong-secret"},
                                   std::pair<std::string, std::string>{"nobody", "wrong-secret"}}) {
    SCOPED_TRACE(id);
    S3Options options = PatientOptions();
    options.environment = [id = id, secret = secret](const std::string& name) -> std::optional<std::string> {
      if (name == "AWS_ACCESS_KEY_ID") return id;
      if (name == "AWS_SECRET_ACCESS_KEY") return secret;
      return ProcessEnvironment()(name);
    };
    const auto refused = OpenS3Store(bucket_, prefix_, IfMissing::kRefuse, {}, options);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused);
    EXPECT_THAT(refused.status().message(), HasSubstr("HTTP 40"));
    EXPECT_THAT(refused.status().message(), Not(HasSubstr("wrong-secret")));
  }
}

TEST_F(S3Contract, AClockThatIsADayOffIsCorrected) {
  class WrongClock final : public Clock {
   public:
    UnixMicros Now() const override { return SystemClock().Now() + 86'400'000'000; }
    std::chrono::steady_clock::time_point SteadyNow() const override { return SystemClock().SteadyNow(); }
  } clock;
  S3Options options = PatientOptions();
  options.clock = &clock;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, OpenS3Store(bucket_, prefix_, IfMissing::kCreate, {}, options));
  MILLRACE_ASSERT_OK(store->Put("a", "x"));
  EXPECT_EQ(store->usage().retries, 1);
  EXPECT_EQ(Text("a"), "x");
}

TEST_F(S3Contract, TheBucketMayBeAPartOfTheHostName) {
  const auto store = Open(IfMissing::kCreate, {.path_style = false});
  MILLRACE_ASSERT_OK(store->Put("a b", "x"));
  EXPECT_EQ(Text("a b"), "x");
  EXPECT_EQ(store->List("").ValueOrDie().size(), 1u);
}

TEST_F(S3Contract, AnUnknownAuthorityIsRefused) {
  if (Variable("AWS_CA_BUNDLE").empty()) GTEST_SKIP() << "this server speaks plain HTTP";
  S3Options options = PatientOptions();
  options.environment = [](const std::string& name) {
    return name == "AWS_CA_BUNDLE" ? std::nullopt : ProcessEnvironment()(name);
  };
  const auto refused = OpenS3Store(bucket_, prefix_, IfMissing::kCreate, {}, options);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("lake.s3.ca_file"));
  MILLRACE_ASSERT_OK(
      OpenS3Store(bucket_, prefix_, IfMissing::kCreate, {.ca_file = Variable("AWS_CA_BUNDLE")}, options));
}

}  // namespace
}  // namespace millrace::objectstore::s3
