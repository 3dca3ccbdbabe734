/// DuckDB's databases, made before they are asked for: to make one takes milliseconds, and each worker that is asked a
/// question makes one. Of an executable alone: its duckdb_open_ext() comes before the library's, as in libc.cc.
#pragma once

#include <functional>

namespace millrace::simulation {

/// Makes so many of each kind that `open` opens. Whoever opens one of these kinds from now on gets one of them, as long
/// as there are some; processes that are forked have all of them. Before there are tasks.
void StockDatabases(int of_each, const std::function<void()>& open);

}  // namespace millrace::simulation
