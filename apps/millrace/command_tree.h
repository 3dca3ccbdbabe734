/// The command line as values, read from the CLI11 application that parses it: what is made of this cannot say anything
/// else than the program does.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace millrace::app {

struct CommandValue {
  std::vector<std::string> flags;    ///< "-c", "--config"; of a positional value none.
  std::string placeholder;           ///< "FILE"; empty: a flag without a value. Of a positional its name.
  std::vector<std::string> choices;  ///< All that it may be, if these are few words.
  std::string default_value;
  std::string environment;  ///< The variable that it is taken from if it is not given; empty: none.
  std::string description;
  bool required = false;
  bool repeated = false;
};

struct Command {
  std::string path;  ///< "millrace lake read"
  std::string name;  ///< "read"
  std::string description;
  std::vector<CommandValue> options;
  std::vector<CommandValue> positionals;
  std::vector<Command> subcommands;
};

/// `app` and all below it, in the order of --help, without what is hidden there.
Command ReadCommandTree(const CLI::App& app);

/// `command` and all below it, each before its own.
std::vector<const Command*> AllCommands(const Command& command);

/// Scripts to be read by each shell. They offer commands, flags and choices, and files for every other value.
std::string BashCompletion(const Command& root);
std::string ZshCompletion(const Command& root);
std::string FishCompletion(const Command& root);

/// The manual page millrace(1), as input for man.
std::string ManualPage(const Command& root);

}  // namespace millrace::app
