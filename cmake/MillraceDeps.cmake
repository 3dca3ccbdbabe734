# MILLRACE_DEPS: where scripts/setup puts the libraries that Debian does not have.
if(NOT MILLRACE_DEPS)
  if(DEFINED ENV{MILLRACE_DEPS})
    set(MILLRACE_DEPS "$ENV{MILLRACE_DEPS}")
  else()
    set(MILLRACE_DEPS "$ENV{HOME}/.cache/millrace/deps")
  endif()
endif()
