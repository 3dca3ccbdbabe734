#include "base/yield_to_others.h"

#include <sys/resource.h>
#include <unistd.h>

namespace millrace {

void YieldToOthers(pid_t thread) {
  constexpr int kNice = 10;
  static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(thread), kNice));
}

void YieldToOthers() { YieldToOthers(::gettid()); }

}  // namespace millrace
