// The local store and its prefixed view: what is visible, when, and what each failure leaves behind. Each test has a
// fresh folder; failures of the disk come from a tiny tmpfs where the test may mount one.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/uuid.h"
#include "objectstore/counted_store.h"
#include "objectstore/object_store.h"
#include "testing/faulty_store.h"
#include "testing/status_matchers.h"

namespace millrace::objectstore {
namespace {

namespace fs = std::filesystem;

class LocalStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::canonical(fs::temp_directory_path()) / ("objectstore-" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, OpenStore(folder_.string()));
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<std::string> Keys(const std::string& prefix, const std::string& start_after = "") {
    std::vector<std::string> keys;
    for (const auto& info : store_->List(prefix, start_after).ValueOrDie()) keys.push_back(info.key);
    return keys;
  }
  std::string Text(const std::string& key) { return store_->Read(key).ValueOrDie()->ToString(); }
  std::size_t FilesOnDisk() const {
    std::size_t n = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) n += entry.is_regular_file() ? 1 : 0;
    return n;
  }

  fs::path folder_;
  std::shared_ptr<ObjectStore> store_;
};

TEST_F(LocalStoreTest, PutIfAbsentCreatesOnceAndNeverReplaces) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, store_->PutIfAbsent("t/_delta_log/0.json", "one"));
  EXPECT_EQ(first, PutOutcome::kCreated);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto second, store_->PutIfAbsent("t/_delta_log/0.json", "two"));
  EXPECT_EQ(second, PutOutcome::kExists);
  EXPECT_EQ(Text("t/_delta_log/0.json"), "one");
  EXPECT_EQ(FilesOnDisk(), 1u) << "temporaries are removed";
}

TEST_F(LocalStoreTest, OfManyWritersOneWins) {
  std::atomic<int> created{0};
  std::vector<std::thread> writers;
  for (int i = 0; i < 8; ++i) {
    writers.emplace_back([&, i] {
      for (int n = 0; n < 20; ++n) {
        const auto outcome =
            store_->PutIfAbsent("log/" + std::to_string(n), std::string(1000, static_cast<char>('a' + i)));
        if (outcome.ok() && *outcome == PutOutcome::kCreated) ++created;
      }
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(created, 20);
  for (const auto& key : Keys("log/")) {
    const std::string text = Text(key);
    EXPECT_EQ(text, std::string(1000, text[0]));
  }
}

TEST_F(LocalStoreTest, PutReplaces) {
  MILLRACE_ASSERT_OK(store_->Put("a", "1"));
  MILLRACE_ASSERT_OK(store_->Put("a", "22"));
  EXPECT_EQ(Text("a"), "22");
}

TEST_F(LocalStoreTest, UploadIsInvisibleUntilFinished) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto upload, store_->StartUpload("d/f.parquet"));
  MILLRACE_ASSERT_OK(upload->Write("abc", 3));
  EXPECT_TRUE(Keys("").empty());
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, store_->Read("d/f.parquet"));
  MILLRACE_ASSERT_OK(upload->Write("de", 2));
  EXPECT_EQ(upload->Tell().ValueOrDie(), 5);
  MILLRACE_ASSERT_OK(upload->Finish());
  EXPECT_TRUE(upload->closed());
  EXPECT_EQ(Text("d/f.parquet"), "abcde");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, upload->Finish());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, upload->Write("x", 1));
}

TEST_F(LocalStoreTest, DroppedUploadLeavesNothing) {
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto upload, store_->StartUpload("d/f.parquet"));
    MILLRACE_ASSERT_OK(upload->Write("abc", 3));
  }
  EXPECT_EQ(FilesOnDisk(), 0u);
}

TEST_F(LocalStoreTest, ListIsSortedByBytesDeepAndWithoutHiddenNames) {
  for (const char* key : {"t/b", "t/a/x", "t/a-1", "t/.hidden", "u/a", "t/.d/x"})
    MILLRACE_ASSERT_OK(store_->Put(key, "x"));
  EXPECT_EQ(Keys("t/"), (std::vector<std::string>{"t/a-1", "t/a/x", "t/b"}));
  EXPECT_EQ(Keys("t/a"), (std::vector<std::string>{"t/a-1", "t/a/x"}));
  EXPECT_EQ(Keys("t/", "t/a-1"), (std::vector<std::string>{"t/a/x", "t/b"}));
  EXPECT_EQ(Keys(""), (std::vector<std::string>{"t/a-1", "t/a/x", "t/b", "u/a"}));
  EXPECT_TRUE(Keys("none/").empty());
}

TEST_F(LocalStoreTest, StatAndDelete) {
  MILLRACE_ASSERT_OK(store_->Put("d/a", "12345"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto info, store_->Stat("d/a"));
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->size, 5);
  EXPECT_GT(info->modified, 1'500'000'000'000'000);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto folder, store_->Stat("d"));
  EXPECT_FALSE(folder.has_value()) << "a folder is not an object";
  MILLRACE_ASSERT_OK(store_->Delete("d/a"));
  MILLRACE_ASSERT_OK(store_->Delete("d/a"));
  MILLRACE_ASSERT_OK(store_->Delete("none/a"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto gone, store_->Stat("d/a"));
  EXPECT_FALSE(gone.has_value());
}

TEST_F(LocalStoreTest, KeysStayInsideTheRoot) {
  const std::string with_nul("a\0b", 3);
  for (const std::string& key :
       {std::string(""), std::string("/etc/passwd"), std::string("../x"), std::string("a/../../x"),
        std::string("a/./b"), std::string("a//b"), std::string("a/"), with_nul}) {
    SCOPED_TRACE(key);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Read(key));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Open(key));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Stat(key));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->PutIfAbsent(key, "x"));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->StartUpload(key));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Delete(key));
  }
}

TEST_F(LocalStoreTest, LinksOutOfTheRootAreNotFollowed) {
  const fs::path outside = folder_.string() + "-outside";
  fs::create_directories(outside);
  std::ofstream(outside / "secret") << "secret";
  MILLRACE_ASSERT_OK(store_->Put("inside/a", "fine"));
  fs::create_symlink(outside / "secret", folder_ / "file_link");
  fs::create_directory_symlink(outside, folder_ / "folder_link");
  fs::create_symlink(folder_ / "inside" / "a", folder_ / "inner_link");

  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Read("file_link"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Open("folder_link/secret"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Stat("folder_link/secret"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Put("folder_link/new", "x"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, store_->Delete("folder_link/secret"));
  EXPECT_EQ(Text("inner_link"), "fine");
  EXPECT_EQ(Keys(""), (std::vector<std::string>{"inner_link", "inside/a"}));
  EXPECT_FALSE(fs::exists(outside / "new"));
  EXPECT_TRUE(fs::exists(outside / "secret"));
  fs::remove_all(outside);
}

TEST_F(LocalStoreTest, LocationsAreKeysHoweverTheyAreSpelled) {
  MILLRACE_ASSERT_OK(store_->Put("a/b", "x"));
  fs::create_directory_symlink("a", folder_ / "link");
  fs::create_symlink("a/b", folder_ / "file");
  fs::create_directory_symlink("/usr", folder_ / "out");
  const fs::path outside = folder_.string() + "-link";
  fs::create_directory_symlink(folder_, outside);
  const std::string here = folder_.string();
  struct Case {
    std::string location;
    std::optional<std::string> key;
  };
  const std::vector<Case> cases = {{here + "/a/b", "a/b"},
                                   {"file:" + here + "/a/b", "a/b"},
                                   {"file://" + here + "/a/b", "a/b"},
                                   {"file://localhost" + here + "/a/b", "a/b"},
                                   {outside.string() + "/a/b", "a/b"},
                                   {here + "/link/b", "a/b"},
                                   {here + "/file", "a/b"},
                                   {here + "//a/./b", "a/b"},
                                   // What is not there, too.
                                   {outside.string() + "/link/new/c", "a/new/c"},
                                   {here, ""},
                                   {here + "/out/bin", std::nullopt},
                                   {here + "x/a", std::nullopt},
                                   {here + "/new/../../x", std::nullopt},
                                   {"/nowhere/a/b", std::nullopt},
                                   {"a/b", std::nullopt},
                                   {"", std::nullopt},
                                   {"s3:/" + here + "/a/b", std::nullopt},
                                   {"file://host" + here + "/a/b", std::nullopt},
                                   {here + std::string("/a\0b", 4), std::nullopt}};
  for (const auto& c : cases) EXPECT_EQ(store_->KeyOf(c.location), c.key) << c.location;
  EXPECT_EQ(Below(store_, "a")->KeyOf(here + "/a/b"), "b");
  EXPECT_EQ(Below(store_, "link")->KeyOf(outside.string() + "/a/b"), "b");
  EXPECT_EQ(Below(store_, "a")->KeyOf(here + "/ab"), std::nullopt);
  fs::remove(outside);
}

TEST_F(LocalStoreTest, RangedRead) {
  MILLRACE_ASSERT_OK(store_->Put("a", "0123456789"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto file, store_->Open("a"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto part, file->ReadAt(3, 4));
  EXPECT_EQ(part->ToString(), "3456");
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, store_->Open("b"));
}

TEST_F(LocalStoreTest, BelowSeesOnlyItsPrefix) {
  auto table = Below(store_, "lake/clicks");
  MILLRACE_ASSERT_OK(table->PutIfAbsent("_delta_log/0.json", "x"));
  MILLRACE_ASSERT_OK(table->Put("p", "y"));
  MILLRACE_ASSERT_OK(store_->Put("lake/clicks2/p", "z"));
  EXPECT_EQ(Text("lake/clicks/_delta_log/0.json"), "x");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all, table->List(""));
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].key, "_delta_log/0.json");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto later, table->List("", "_delta_log/0.json"));
  ASSERT_EQ(later.size(), 1u);
  EXPECT_EQ(later[0].key, "p");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto info, table->Stat("p"));
  EXPECT_EQ(info->key, "p");
  EXPECT_EQ(table->uri(), store_->uri() + "/lake/clicks");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, table->Read("../clicks2/p"));
}

TEST_F(LocalStoreTest, FullDiskIsTransientAndLeavesNoHalfObject) {
  const fs::path disk = folder_ / "disk";
  fs::create_directories(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "needs the right to mount a tmpfs";
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto small, OpenStore(disk.string()));
    const std::string large(200'000, 'x');
    const auto put = small->PutIfAbsent("a", large);
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, put);
    EXPECT_NE(put.status().message().find("No space left"), std::string::npos) << put.status();
    MILLRACE_ASSERT_KIND(ErrorKind::kTransient, small->Put("a", large));
    {
      MILLRACE_ASSERT_OK_AND_ASSIGN(auto upload, small->StartUpload("b"));
      MILLRACE_ASSERT_KIND(ErrorKind::kTransient, upload->Write(large.data(), static_cast<std::int64_t>(large.size())));
    }
    EXPECT_TRUE(small->List("").ValueOrDie().empty());
    EXPECT_TRUE(fs::is_empty(disk));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, small->PutIfAbsent("a", "fits"));
    EXPECT_EQ(outcome, PutOutcome::kCreated);
  }
  ::umount(disk.c_str());
}

// A fault that passes would be tried again for ever; this one stays until somebody raises the limit.
TEST_F(LocalStoreTest, NoMoreDescriptorsIsALimitThatIsNamedAndNoPassingFault) {
  MILLRACE_ASSERT_OK(store_->Put("there", "x"));
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  std::vector<int> taken;
  rlimit few = old;
  few.rlim_cur = 200;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  for (int fd; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken.push_back(fd);
  const std::vector<Status> failed = {
      store_->Put("a", "x"),          store_->PutIfAbsent("b", "x").status(), store_->StartUpload("c").status(),
      store_->Read("there").status(), store_->Open("there").status(),         store_->List("").status()};
  for (const int fd : taken) ::close(fd);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  ASSERT_FALSE(taken.empty());
  for (const Status& status : failed) {
    MILLRACE_ASSERT_KIND(ErrorKind::kInternal, status);
    EXPECT_NE(status.message().find("Too many open files: this process may have 200 (ulimit -n); raise it"),
              std::string::npos)
        << status.message();
  }
  EXPECT_EQ(Keys(""), std::vector<std::string>{"there"});
  EXPECT_EQ(FilesOnDisk(), 1u);
}

TEST_F(LocalStoreTest, CountedStoreCountsWhatIsBilled) {
  const auto counted = Below(Counted(store_), "t");
  MILLRACE_ASSERT_OK(counted->PutIfAbsent("a", "12345").status());
  MILLRACE_ASSERT_OK(counted->PutIfAbsent("a", "again").status());  // Refused, and billed all the same.
  MILLRACE_ASSERT_OK(counted->Put("b", "123"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto upload, counted->StartUpload("c"));
  MILLRACE_ASSERT_OK(upload->Write("0123456789", 10));
  EXPECT_EQ(counted->usage().Of(RequestKind::kPut), 3);  // Nothing is there before Finish().
  MILLRACE_ASSERT_OK(upload->Finish());
  MILLRACE_ASSERT_OK(counted->Read("a").status());
  EXPECT_FALSE(counted->Read("none").ok());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto file, counted->Open("c"));
  MILLRACE_ASSERT_OK(file->ReadAt(2, 4).status());
  char bytes[3];
  MILLRACE_ASSERT_OK(file->ReadAt(0, 3, bytes).status());
  MILLRACE_ASSERT_OK(counted->Stat("a").status());
  MILLRACE_ASSERT_OK(counted->List("").status());
  MILLRACE_ASSERT_OK(counted->Delete("a"));
  const auto usage = counted->usage();
  EXPECT_EQ(usage.Of(RequestKind::kPut), 4);
  EXPECT_EQ(usage.Of(RequestKind::kGet), 4);   // Two whole reads, two ranges.
  EXPECT_EQ(usage.Of(RequestKind::kHead), 2);  // Stat, and the size of the file that was opened.
  EXPECT_EQ(usage.Of(RequestKind::kList), 1);
  EXPECT_EQ(usage.Of(RequestKind::kDelete), 1);
  EXPECT_EQ(usage.bytes_sent, 5 + 5 + 3 + 10);
  EXPECT_EQ(usage.bytes_received, 5 + 4 + 3);
}

TEST_F(LocalStoreTest, FaultyStoreFailsTheNamedCall) {
  testing::FaultyStore faulty(store_);
  faulty.Inject(testing::StoreOperation::kPutIfAbsent, 2, testing::StoreFault::kFail, "log/");
  faulty.Inject(testing::StoreOperation::kPut, 1, testing::StoreFault::kLoseReply);
  MILLRACE_ASSERT_OK(faulty.PutIfAbsent("log/0", "x"));
  MILLRACE_ASSERT_OK(faulty.PutIfAbsent("other", "x"));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, faulty.PutIfAbsent("log/1", "x"));
  MILLRACE_ASSERT_KIND(ErrorKind::kUnknownOutcome, faulty.Put("a", "x"));
  EXPECT_EQ(Text("a"), "x");
  EXPECT_FALSE(store_->Stat("log/1").ValueOrDie().has_value());
}

TEST(OpenStore, AcceptsFoldersAndRefusesTheRest) {
  const fs::path folder = fs::canonical(fs::temp_directory_path()) / ("objectstore-" + RandomUuid());
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto store, OpenStore("file://" + (folder / "a/b").string() + "/"));
  EXPECT_EQ(store->uri(), "file://" + (folder / "a/b").string());
  EXPECT_TRUE(fs::is_directory(folder / "a/b"));
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, OpenStore((folder / "none").string(), IfMissing::kRefuse));
  EXPECT_FALSE(fs::exists(folder / "none"));
  MILLRACE_ASSERT_OK(OpenStore((folder / "a").string(), IfMissing::kRefuse));
  const auto unsupported = OpenStore("gs://bucket/x");
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, unsupported);
  EXPECT_NE(unsupported.status().message().find("gs"), std::string::npos);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, OpenStore(""));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, OpenStore("file://relative"));
  std::ofstream(folder / "file") << "x";
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, OpenStore((folder / "file").string()));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, OpenStore((folder / "file" / "below").string()));
  fs::remove_all(folder);
}

TEST(OpenStore, AFolderThatComesWithTheFirstWriteIsCheckedBefore) {
  const fs::path folder = fs::canonical(fs::temp_directory_path()) / ("objectstore-" + RandomUuid());
  fs::create_directories(folder / "real");
  fs::create_directory_symlink(folder / "real", folder / "link");
  fs::create_directory_symlink(folder / "nothing", folder / "dangling");
  std::ofstream(folder / "file") << "x";
  const auto open = [&](const char* name) {
    return OpenStore((folder / name).string(), IfMissing::kCreateAtFirstWrite);
  };

  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, open("link/a/b"));
  EXPECT_EQ(store->uri(), "file://" + (folder / "real/a/b").string());
  EXPECT_FALSE(fs::exists(folder / "real/a"));
  EXPECT_TRUE(store->List("", "").ValueOrDie().empty());
  EXPECT_FALSE(store->Stat("x").ValueOrDie().has_value());
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, store->Read("x"));
  EXPECT_FALSE(fs::exists(folder / "real/a")) << "reading makes nothing";
  MILLRACE_ASSERT_OK(store->PutIfAbsent("t/x", "y"));
  EXPECT_EQ(store->Read("t/x").ValueOrDie()->ToString(), "y");
  EXPECT_TRUE(fs::exists(folder / "real/a/b/t/x"));

  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto present, open("real"));
  EXPECT_EQ(present->Read("a/b/t/x").ValueOrDie()->ToString(), "y");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto beside, open("real/new/../other/./"));
  EXPECT_EQ(beside->uri(), "file://" + (folder / "real/other").string());
  MILLRACE_ASSERT_OK(beside->Put("x", "y"));
  for (const char* name : {"file", "file/below", "file/below/it", "dangling", "dangling/below"}) {
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, open(name));
  }
  fs::permissions(folder / "real", fs::perms::owner_read | fs::perms::owner_exec);
  if (::access((folder / "real").c_str(), W_OK) != 0) {  // Not for root, who may write everywhere.
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, open("real/new/place"));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, open("real"));
  }
  fs::permissions(folder / "real", fs::perms::owner_all);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace millrace::objectstore
