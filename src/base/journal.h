/// systemd's journal at the other end of standard error: a line keeps its priority there if it begins with one,
/// `<3>` to `<7>` (sd-daemon(3)), and has that of information else.
#pragma once

#include <string_view>

namespace millrace {

/// systemd names the journal's end in $JOURNAL_STREAM, which children inherit whose standard error is another one.
bool StandardErrorIsJournal();

/// What is wrong, for a person, where there is no log yet: the text and a newline on standard error; in the journal
/// each of its lines is an error's.
void PrintError(std::string_view text);

}  // namespace millrace
