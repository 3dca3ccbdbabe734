#include "eventlog/rocksdb_folder.h"

#include <rocksdb/env.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/log.h"

namespace millrace::eventlog {
namespace {

constexpr std::size_t kLineBytesMax = 512;  // The rest is left out.

class OurLogger final : public rocksdb::Logger {
 public:
  OurLogger() : rocksdb::Logger(rocksdb::WARN_LEVEL) {}
  ~OurLogger() override { Close().PermitUncheckedError(); }

  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    if (!spdlog::should_log(spdlog::level::debug)) return;
    std::array<char, kLineBytesMax> line{};
    std::vsnprintf(line.data(), line.size(), format, arguments);
    spdlog::debug("RocksDB: {}", line.data());
  }

 private:
  rocksdb::Status CloseImpl() override { return rocksdb::Status::OK(); }
};

}  // namespace

std::shared_ptr<rocksdb::Logger> RocksDbLogger() { return std::make_shared<OurLogger>(); }

std::optional<std::string> FileWithoutCurrent(const std::string& folder) {
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::path(folder) / "CURRENT", error)) return std::nullopt;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const auto extension = entry.path().extension();
    if (extension == ".sst" || extension == ".log") return entry.path().filename();
  }
  return std::nullopt;
}

}  // namespace millrace::eventlog
