/// Aligned columns for a terminal.
#pragma once

#include <string>
#include <vector>

namespace millrace::app {

/// The first row is the header. Columns whose cells below the header are all numbers are right-aligned.
std::string RenderTable(const std::vector<std::vector<std::string>>& rows);

/// "1,234,567".
std::string WithThousands(long long value);

/// "12.3 MiB".
std::string HumanBytes(long long bytes);

}  // namespace millrace::app
