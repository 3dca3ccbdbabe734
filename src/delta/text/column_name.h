/// Names of columns, which have no case in Delta: a table has no two that differ in it alone, and files may spell a
/// column otherwise than the table does.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "delta/log/actions.h"

namespace millrace::delta {

/// Equal for names that are one column's, and for no others. To be compared, not to be shown.
std::string FoldedName(std::string_view name);

/// FoldedName() of both is equal; without allocation for names of ASCII alone.
bool IsSameName(std::string_view a, std::string_view b);

/// The value of a partition column; nullptr: the file has none. The spelling of the column counts before others.
const std::optional<std::string>* FindPartitionValue(const PartitionValues& values, const std::string& column);

}  // namespace millrace::delta
