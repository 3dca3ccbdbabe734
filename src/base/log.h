/// Logging: spdlog, on stderr, one line an event with key=value fields. Whoever handles an error logs it, once.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace millrace {

enum class LogFormat { kText, kJson };

/// At the start of the program, since spdlog's own default is standard output; again once its configuration is known,
/// while no other thread logs. `level`: trace, debug, info, warn, error, off. To systemd's journal: as it likes text.
void InitLogging(const std::string& level, LogFormat format);

}  // namespace millrace
