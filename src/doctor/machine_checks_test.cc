// Each verdict about the machine, failing and passing; what is read of it, from files and ports of the test's own.
#include "doctor/machine_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <fstream>

#include "http/listen.h"
#include "testing/status_matchers.h"
#include "testing/stub_http_server.h"

namespace millrace::doctor {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

class Folder : public ::testing::Test {
 protected:
  ~Folder() override { fs::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  std::string root() const { return root_.string() + "/"; }

  const fs::path root_ = fs::temp_directory_path() / ("millrace-doctor-" + std::to_string(::getpid()));
};

TEST_F(Folder, TheLeastLimitOfAControlGroupAndThoseAboveItHolds) {
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, ReadMemory(root()));
  Write("proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\n");
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto facts, ReadMemory(root()));
  EXPECT_EQ(facts.machine, 16'000'000LL * 1024);
  EXPECT_EQ(facts.cgroup, std::nullopt);
  Write("proc/self/cgroup", "0::/system.slice/millrace.service\n");
  Write("sys/fs/cgroup/system.slice/millrace.service/memory.max", "max\n");
  MILLRACE_ASSERT_OK_AND_ASSIGN(facts, ReadMemory(root()));
  EXPECT_EQ(facts.cgroup, std::nullopt);
  Write("sys/fs/cgroup/system.slice/memory.max", "2147483648\n");
  MILLRACE_ASSERT_OK_AND_ASSIGN(facts, ReadMemory(root()));
  EXPECT_EQ(facts.cgroup, 2 * kGiB);
  Write("sys/fs/cgroup/memory.max", "1073741824\n");
  MILLRACE_ASSERT_OK_AND_ASSIGN(facts, ReadMemory(root()));
  EXPECT_EQ(facts.cgroup, kGiB) << "in a container the root of the mount is the group";
  Write("proc/self/cgroup", "5:cpu,memory:/docker/abc\n1:name=systemd:/\n");
  Write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "536870912\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  MILLRACE_ASSERT_OK_AND_ASSIGN(facts, ReadMemory(root()));
  EXPECT_EQ(facts.cgroup, kGiB / 2);
}

TEST(MachineChecks, MemoryIsWithinTheGroupWithTheWholeProcess) {
  const MemoryFacts facts{.machine = 8 * kGiB, .cgroup = ProcessBytes(kGiB)};
  EXPECT_EQ(CheckMemory(facts, kGiB).verdict, Verdict::kOk);
  const Check tight = CheckMemory(facts, kGiB + 1);
  EXPECT_EQ(tight.verdict, Verdict::kWarning);
  EXPECT_THAT(tight.mend, HasSubstr("limits.memory to 1024MiB or less"));
  EXPECT_EQ(CheckMemory(facts, *facts.cgroup).verdict, Verdict::kFailed);
  EXPECT_THAT(CheckMemory({.machine = kGiB, .cgroup = 2 * kGiB}, kGiB).found, HasSubstr("this machine has 1024 MiB"));
}

TEST(MachineChecks, DescriptorsAreEnoughForConnectionsAndFiles) {
  EXPECT_EQ(CheckDescriptors(2048, 2048, 1024).verdict, Verdict::kOk);
  const Check few = CheckDescriptors(1024, 4096, 1024);
  EXPECT_EQ(few.verdict, Verdict::kWarning);
  EXPECT_THAT(few.mend, HasSubstr("ulimit -n 2048"));
  EXPECT_THAT(CheckDescriptors(1024, 1024, 1024).mend, HasSubstr("the hard limit is 1024"));
  EXPECT_EQ(CheckDescriptors(512, 512, 0).verdict, Verdict::kOk);
  EXPECT_EQ(CheckDescriptors(64, 512, 0).verdict, Verdict::kFailed);
}

TEST_F(Folder, AFolderThatIsNotThereIsJudgedByTheOneAboveIt) {
  fs::create_directories(root_);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto facts, ReadFolder(root() + "a/b"));
  EXPECT_FALSE(facts.is_there);
  EXPECT_EQ(facts.parent, root_.string());
  EXPECT_GT(facts.free_bytes, 0);
  EXPECT_FALSE(fs::exists(root_ / "a")) << "nothing is made";
  Write("file", "");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ReadFolder(root() + "file"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ReadFolder(root() + "file/below"));
}

TEST(MachineChecks, AFolderHasRoomAndMayBeWritten) {
  FolderFacts facts{.path = "/lake", .is_there = true, .parent = "/lake", .free_bytes = 100};
  EXPECT_EQ(CheckFolder("lake", facts, 100, 50).verdict, Verdict::kOk);
  EXPECT_EQ(CheckFolder("lake", facts, 101, 50).verdict, Verdict::kWarning);
  EXPECT_EQ(CheckFolder("lake", facts, 200, 101).verdict, Verdict::kFailed);
  facts.denied = "Permission denied";
  const Check denied = CheckFolder("lake", facts, 1, 1);
  EXPECT_EQ(denied.verdict, Verdict::kFailed);
  EXPECT_THAT(denied.mend, HasSubstr("ReadWritePaths="));
}

TEST(MachineChecks, APortIsFreeOursOrSomebodyElses) {
  const auto port_of = [](const std::string& url) {
    return static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  };
  testing::StubHttpServer ours([](const auto&) { return testing::StubReply{200, "ok\n"}; });
  testing::StubHttpServer other([](const auto&) { return testing::StubReply{404, "no"}; });
  EXPECT_EQ(CheckPort(ReadPort("serve.listen", "127.0.0.1", port_of(ours.url()), true)).verdict, Verdict::kOk);
  const Check taken = CheckPort(ReadPort("serve.listen", "127.0.0.1", port_of(other.url()), true));
  EXPECT_EQ(taken.verdict, Verdict::kFailed);
  EXPECT_THAT(taken.mend, HasSubstr("another port for serve.listen"));
  const Check unknown = CheckPort(ReadPort("serve.postgres", "127.0.0.1", port_of(other.url()), false));
  EXPECT_EQ(unknown.verdict, Verdict::kWarning);
  std::uint16_t free_port = 0;
  {
    boost::asio::io_context context;
    boost::asio::ip::tcp::acceptor acceptor(context);
    MILLRACE_ASSERT_OK(http::ListenOn("127.0.0.1", 0, acceptor));
    free_port = acceptor.local_endpoint().port();
  }
  const auto freed = ReadPort("serve.listen", "127.0.0.1", free_port, true);
  EXPECT_EQ(freed.use, PortUse::kFree);
  EXPECT_THAT(CheckPort(freed).found, HasSubstr("is free"));
}

TEST(MachineChecks, ALibraryIsTheOneThatItWasMadeWith) {
  EXPECT_EQ(CheckVersion("arrow", "25.0.0", "25.0.0").verdict, Verdict::kOk);
  EXPECT_EQ(CheckVersion("arrow", "25.0.0", "24.0.0").found,
            "arrow 24.0.0 is loaded, and this program was made with 25.0.0");
}

}  // namespace
}  // namespace millrace::doctor
