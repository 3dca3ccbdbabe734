// Each verdict about the machine, failing and passing; what is read of it, from files and ports of the test's own.
#include "doctor/machine_checks.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
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

TEST_F(Folder, TheLeastQuotaOfAControlGroupAndThoseAboveItHolds) {
  EXPECT_EQ(ReadCpus(root()).quota, std::nullopt);
  EXPECT_GE(ReadCpus(root()).machine, 1);
  Write("proc/self/cgroup", "0::/system.slice/millrace.service\n");
  Write("sys/fs/cgroup/system.slice/millrace.service/cpu.max", "max 100000\n");
  EXPECT_EQ(ReadCpus(root()).quota, std::nullopt);
  Write("sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n");
  EXPECT_EQ(ReadCpus(root()).quota, 1.5);
  Write("sys/fs/cgroup/cpu.max", "100000 200000\n");
  EXPECT_EQ(ReadCpus(root()).quota, 0.5) << "in a container the root of the mount is the group";
  Write("proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n");
  EXPECT_EQ(ReadCpus(root()).quota, std::nullopt);
  Write("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(ReadCpus(root()).quota, std::nullopt);
  Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(ReadCpus(root()).quota, 3);
}

TEST(MachineChecks, ThreadsAreNoMoreThanTheQuotaOfTheGroup) {
  EXPECT_EQ(CheckThreads({.machine = 64, .quota = {}}, 64).verdict, Verdict::kOk);
  EXPECT_EQ(CheckThreads({.machine = 64, .quota = 1.5}, 2).verdict, Verdict::kOk);
  EXPECT_EQ(CheckThreads({.machine = 64, .quota = 0.2}, 1).verdict, Verdict::kOk) << "there is no fewer";
  const Check many = CheckThreads({.machine = 64, .quota = 1.5}, 64);
  EXPECT_EQ(many.verdict, Verdict::kWarning);
  EXPECT_THAT(many.found,
              HasSubstr("64 threads compute, this machine has 64 cores, of which its control group may use 1.5"));
  EXPECT_THAT(many.mend, HasSubstr("limits.threads to 2, or give it 64 cores"));
}

TEST(MachineChecks, DescriptorsAreEnoughForConnectionsAndFiles) {
  EXPECT_EQ(CheckDescriptors(2048, 2048, {.http = 1024}).verdict, Verdict::kOk);
  const Check few = CheckDescriptors(1024, 4096, {.http = 1024});
  EXPECT_EQ(few.verdict, Verdict::kWarning);
  EXPECT_THAT(few.mend, HasSubstr("ulimit -n 2048"));
  EXPECT_THAT(CheckDescriptors(1024, 1024, {.http = 1024}).mend, HasSubstr("the hard limit is 1024"));
  EXPECT_EQ(CheckDescriptors(512, 512, {}).verdict, Verdict::kOk);
  EXPECT_EQ(CheckDescriptors(64, 512, {}).verdict, Verdict::kFailed);
}

TEST(MachineChecks, EachDoorWantsDescriptors) {
  const DoorConnections all{.http = 256, .health = 64, .postgres = 256, .mqtt = 100};
  EXPECT_EQ(CheckDescriptors(256 + 64 + 256 + 100 + 512, 4096, all).verdict, Verdict::kOk);
  const Check few = CheckDescriptors(256 + 64 + 256 + 100 + 511, 4096, all);
  EXPECT_EQ(few.verdict, Verdict::kWarning);
  EXPECT_THAT(few.found, HasSubstr("with 256 connections to serve.listen, 64 connections to serve.health, 256 "
                                   "connections to serve.postgres, 100 connections to gateway.mqtt.listen it should be "
                                   "1188"));
  EXPECT_EQ(CheckDescriptors(99'999, 99'999, {.http = 50'000}).verdict, Verdict::kWarning)
      << "as many devices as the gateway is to hold, and serve.listen takes half";
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

TEST(MachineChecks, AStateIsOursAndOfNobodyElse) {
  const FolderFacts folder{.path = "/state", .is_there = true, .parent = "/state", .free_bytes = 100};
  EXPECT_EQ(CheckState("gateway.state", {.folder = folder}, 100, 50).verdict, Verdict::kOk);
  EXPECT_EQ(CheckState("gateway.state", {.folder = folder}, 101, 50).verdict, Verdict::kWarning);
  EXPECT_EQ(CheckState("gateway.state", {.folder = folder}, 200, 101).verdict, Verdict::kFailed);
  const Check foreign = CheckState("gateway.state", {.folder = folder, .foreign = "LOCK is of root"}, 1, 1);
  EXPECT_EQ(foreign.verdict, Verdict::kFailed);
  EXPECT_THAT(foreign.found, HasSubstr("LOCK is of root"));
  EXPECT_THAT(foreign.mend, HasSubstr("chown -R /state"));

  const StateFacts held{.folder = folder, .foreign = "", .holder = 4711};
  EXPECT_EQ(CheckHolder("gateway.state", held, PortUse::kMillrace).verdict, Verdict::kOk);
  EXPECT_EQ(CheckHolder("gateway.state", held, PortUse::kUnknown).verdict, Verdict::kWarning);
  for (const auto door : {PortUse::kFree, PortUse::kOther}) {
    const Check other = CheckHolder("gateway.state", held, door);
    EXPECT_EQ(other.verdict, Verdict::kFailed);
    EXPECT_THAT(other.found, HasSubstr("process 4711 has it open"));
    EXPECT_THAT(other.mend, HasSubstr("its own gateway.state"));
  }
}

// As what another process does with a folder of RocksDB.
TEST_F(Folder, WhoHasAStateOpenIsSeenAndNotDisturbed) {
  fs::create_directories(root_);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto missing, ReadState(root() + "state"));
  EXPECT_EQ(missing.holder, std::nullopt);
  Write("state/LOCK", "");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto free, ReadState(root() + "state"));
  EXPECT_EQ(free.holder, std::nullopt);
  EXPECT_EQ(free.foreign, "");
  int to_child[2], to_us[2];
  ASSERT_EQ(::pipe(to_child), 0);
  ASSERT_EQ(::pipe(to_us), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    const int file = ::open((root() + "state/LOCK").c_str(), O_RDWR);
    char byte = ::fcntl(file, F_SETLK, &lock) == 0 ? 'y' : 'n';
    ::close(to_child[1]);
    if (::write(to_us[1], &byte, 1) != 1) ::_exit(1);
    ::_exit(::read(to_child[0], &byte, 1) == 0 ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(::read(to_us[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  for (int i = 0; i < 2; ++i) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto held, ReadState(root() + "state"));
    EXPECT_EQ(held.holder, child) << "also the second time: to ask takes the lock from nobody";
  }
  for (const int end : {to_child[0], to_child[1], to_us[0], to_us[1]}) ::close(end);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto ended, ReadState(root() + "state"));
  EXPECT_EQ(ended.holder, std::nullopt);
}

// A pipeline that root has run once, and that is now to be run by its own user.
TEST_F(Folder, FilesOfAnotherUserAreNamed) {
  Write("state/CURRENT", "");
  fs::permissions(root_, fs::perms::all);
  fs::permissions(root_ / "state", fs::perms::all);
  const bool is_root = ::geteuid() == 0;
  if (is_root) {
    constexpr uid_t kNobody = 65534;
    ASSERT_EQ(::seteuid(kNobody), 0);
  } else {
    fs::permissions(root_ / "state/CURRENT", fs::perms::owner_read);
  }
  const auto facts = ReadState(root() + "state");
  if (is_root) ASSERT_EQ(::seteuid(0), 0);
  MILLRACE_ASSERT_OK(facts.status());
  EXPECT_EQ(facts->folder.denied, "");
  EXPECT_THAT(facts->foreign, HasSubstr(is_root ? "CURRENT is of root" : "CURRENT is of "));
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
