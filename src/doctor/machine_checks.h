/// The machine: memory, descriptors, folders, ports. What is read of it is a value, and what is made of that a plain
/// function.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "doctor/check.h"

namespace millrace::doctor {

struct MemoryFacts {
  std::int64_t machine = 0;            ///< Bytes of the machine.
  std::optional<std::int64_t> cgroup;  ///< The least limit of our control groups; nullopt: none.
};
/// Of cgroups v2 and v1. `root`: "/", elsewhere in tests. kNotFound: /proc says nothing of it.
Result<MemoryFacts> ReadMemory(const std::string& root = "/");

/// What a process takes for each byte of limits.memory, and for itself; as the Helm chart reckons.
constexpr std::int64_t ProcessBytes(std::int64_t limit) { return limit + limit / 2 + (std::int64_t{192} << 20); }

/// "limits.memory", against what the process may have.
Check CheckMemory(const MemoryFacts& facts, std::int64_t limit);

struct CpuFacts {
  int machine = 0;              ///< Cores of the machine that we may use.
  std::optional<double> quota;  ///< Cores, by the least quota of our control groups; nullopt: none.
};
/// Of cgroups v2 and v1. `root`: as of ReadMemory().
CpuFacts ReadCpus(const std::string& root = "/");

/// "limits.threads": a group that has spent its quota stands still until the next period, with all of its threads.
Check CheckThreads(const CpuFacts& facts, int threads);

/// The most connections that each of the doors takes; 0: it is not open.
struct DoorConnections {
  int http = 0;  ///< serve.limits.connections: of those who ask, and of devices that send to the gateway.
  int health = 0;
  int postgres = 0;
  int mqtt = 0;  ///< To gateway.mqtt.listen.
};
/// "limits.descriptors". `soft` and `hard`: RLIMIT_NOFILE.
Check CheckDescriptors(std::uint64_t soft, std::uint64_t hard, const DoorConnections& doors);

struct FolderFacts {
  std::string path;  ///< Absolute.
  bool is_there = false;
  std::string parent;  ///< The nearest folder above it that is there, or itself.
  std::string denied;  ///< Why we may not write there; empty: we may.
  std::int64_t free_bytes = 0;
};
/// Writes nothing. kInvalidInput: something on the way is no folder.
Result<FolderFacts> ReadFolder(const std::string& path);

/// `name`: the check's. `wanted`: bytes that it will want; fewer are a warning, fewer than `needed` a failure.
Check CheckFolder(const std::string& name, const FolderFacts& facts, std::int64_t wanted, std::int64_t needed);

/// A folder that one process at a time keeps a database in, such as gateway.state.
struct StateFacts {
  FolderFacts folder;
  std::string foreign;        ///< A file of it that we may not read and write, and whose it is; empty: none.
  std::optional<int> holder;  ///< The process that has it open; 0: one that we cannot see; nullopt: none.
};
/// Writes nothing and locks nothing. Errors as ReadFolder().
Result<StateFacts> ReadState(const std::string& path);
/// As CheckFolder(), and its files are ours.
Check CheckState(const std::string& name, const StateFacts& facts, std::int64_t wanted, std::int64_t needed);

/// Who has a port that we want.
enum class PortUse {
  kFree,
  kMillrace,
  kOther,
  kUnknown,  ///< Somebody, who was not asked.
};
struct PortFacts {
  std::string key;    ///< "serve.listen"
  std::string place;  ///< "127.0.0.1:8080"
  PortUse use = PortUse::kFree;
  std::string reason = {};  ///< Why it is not to be had.
};
/// Listens there for a moment. `livez`: whether to ask who is there for /livez.
PortFacts ReadPort(const std::string& key, const std::string& address, std::uint16_t port, bool livez);
Check CheckPort(const PortFacts& facts);

/// Who has `facts.folder` open; of facts with a holder. `door`: who has the port of the pipeline that it is for.
Check CheckHolder(const std::string& name, const StateFacts& facts, PortUse door);

/// A library that is loaded should be the one that this program was compiled with.
Check CheckVersion(const std::string& library, const std::string& compiled, const std::string& loaded);

}  // namespace millrace::doctor
