#include "base/journal.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace millrace {

bool StandardErrorIsJournal() {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat of {};
  return stream != nullptr && ::fstat(STDERR_FILENO, &of) == 0 && fmt::format("{}:{}", of.st_dev, of.st_ino) == stream;
}

void PrintError(std::string_view text) {
  constexpr const char* kPriority = "<3>";
  const bool journal = StandardErrorIsJournal();
  std::string lines(journal ? kPriority : "");
  for (const char c : text) {
    lines.push_back(c);
    if (journal && c == '\n') lines += kPriority;
  }
  lines.push_back('\n');
  std::fwrite(lines.data(), 1, lines.size(), stderr);
}

}  // namespace millrace
