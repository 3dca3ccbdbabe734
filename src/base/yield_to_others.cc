#include "base/yield_to_others.h"

#include <sys/resource.h>
#include <unistd.h>

namespace millrace {

void YieldToOthers() {
  constexpr int kNice = 10;
  thread_local const int done = ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice);
  static_cast<void>(done);
}

}  // namespace millrace
