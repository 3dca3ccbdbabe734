/// "did you mean ...?": the known name that is closest to what somebody typed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

/// The candidate with the fewest edits (insert, delete, replace, swap neighbours; case is free), if they are few for
/// its length: at most one in three letters, and at least one. Ties: the first.
std::optional<std::string> NearestName(std::string_view name, const std::vector<std::string>& candidates);

/// "; did you mean 'country'?", or nothing if no name is near.
std::string DidYouMean(std::string_view name, const std::vector<std::string>& candidates);

/// DidYouMean(), or "; there are: country, page" if no name is near, or "; there are none". For names that are few.
std::string NamesInstead(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace millrace
