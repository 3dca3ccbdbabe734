#include "base/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>

#include "base/version.h"

namespace millrace {
namespace {

std::string ReadAll(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Seconds since 1970 at which the system started.
std::optional<double> BootTime() {
  std::istringstream lines(ReadAll("/proc/stat"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  }
  return std::nullopt;
}

// The fields of /proc/self/stat after the program's name, which may have any characters; proc(5) numbers them from 3.
std::vector<std::string> StatFields() {
  const std::string text = ReadAll("/proc/self/stat");
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream words(text.substr(name_end + 1));
  return {std::istream_iterator<std::string>(words), {}};
}

}  // namespace

std::vector<SampledFamily> ProcessMetrics() {
  std::vector<SampledFamily> families;
  const auto add = [&](const char* name, SampledFamily::Kind kind, const char* help, double value) {
    families.push_back({name, kind, help, {{{}, value}}});
  };
  using Kind = SampledFamily::Kind;
  families.push_back({"millrace_build_info", Kind::kGauge, "1, with what was built.", {{{{"version", kVersion}}, 1}}});
  const auto fields = StatFields();
  constexpr std::size_t kFirst = 3;
  constexpr std::size_t kResident = 24;
  if (fields.size() > kResident - kFirst) {
    const auto number = [&fields](std::size_t field) { return std::stod(fields[field - kFirst]); };
    const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
    add("process_cpu_seconds_total", Kind::kCounter, "User and system time of the process.",
        (number(14) + number(15)) / ticks);
    add("process_threads", Kind::kGauge, "Threads of the process.", number(20));
    if (const auto boot = BootTime()) {
      add("process_start_time_seconds", Kind::kGauge, "When the process started, seconds since 1970.",
          *boot + number(22) / ticks);
    }
    add("process_virtual_memory_bytes", Kind::kGauge, "Virtual memory of the process.", number(23));
    add("process_resident_memory_bytes", Kind::kGauge, "Resident memory of the process.",
        number(kResident) * static_cast<double>(::sysconf(_SC_PAGESIZE)));
  }
  std::error_code error;
  const std::filesystem::directory_iterator descriptors("/proc/self/fd", error);
  if (!error) {
    add("process_open_fds", Kind::kGauge, "Open file descriptors.",
        static_cast<double>(std::distance(begin(descriptors), end(descriptors))));
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    add("process_max_fds", Kind::kGauge, "File descriptors that the process may have.",
        static_cast<double>(limit.rlim_cur));
  }
  return families;
}

}  // namespace millrace
