/// What the name of a field says of it, and names that columns may have.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::infer {

/// What people call fields of one kind. They are hints: a guess by a name says so beside it.
struct NameHints {
  bool time = false;      ///< created_at, ts, eventTime.
  bool event = false;     ///< Of these, one that means when it happened: ts, event_time, not updated_at.
  bool money = false;     ///< amount, unitPrice.
  bool identity = false;  ///< id, event_id, uuid.
  bool place = false;     ///< lat, longitude: numbers that nobody adds up.
  bool secret = false;    ///< password, apiKey: not to be copied into a lake by default.
};

/// By the words of `name`, which capitals, digits' ends and punctuation part: "eventTime" has "event" and "time".
NameHints HintsOf(std::string_view name);

/// A text that looks like a credential whatever its field is called: a JWT, a key's PEM, an access key of a cloud.
bool LooksSecret(std::string_view text);

/// Names of columns that Delta takes and that differ in more than case.
class ColumnNames {
 public:
  /// One like `wanted`, for a field or a path of fields, and not given before.
  std::string Take(std::string_view wanted);

 private:
  std::set<std::string> taken_;  // In lower case.
};

/// `wanted` as a table or an aggregate can be called: a letter, then letters, digits and _; none of DuckDB's own names.
std::string TableName(std::string_view wanted);

/// `name` as SQL needs it: in quotes unless it is a plain word that SQL does not use itself.
std::string SqlName(std::string_view name);

}  // namespace millrace::infer
