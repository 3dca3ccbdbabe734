/// Logging: spdlog, on stderr, one line an event with key=value fields. Whoever handles an error logs it, once.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace millrace {

enum class LogFormat { kText, kJson };

/// Once, at start of the program. `level`: trace, debug, info, warn, error, off.
void InitLogging(const std::string& level, LogFormat format);

}  // namespace millrace
