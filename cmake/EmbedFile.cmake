# millrace_embed_file(NAME FILE OUT [NAMESPACE]): generates the source OUT, which defines
# `extern const std::string_view NAME` in NAMESPACE (millrace::serve::embedded) with the bytes of FILE.
#
# Run as a script (cmake -P) it does the work at build time.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${FILE} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes
                       "${bytes}")
  file(WRITE ${OUT} "// Generated from ${FILE}.
#include <string_view>
namespace ${NAMESPACE} {
static const unsigned char ${NAME}Bytes[] = {
${bytes}0};
extern const std::string_view ${NAME};
const std::string_view ${NAME}(reinterpret_cast<const char*>(${NAME}Bytes), sizeof ${NAME}Bytes - 1);
}
")
  return()
endif()

set(MILLRACE_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(millrace_embed_file name file out)
  set(namespace millrace::serve::embedded)
  if(ARGC GREATER 3)
    set(namespace ${ARGV3})
  endif()
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DFILE=${file} -DOUT=${out} -DNAMESPACE=${namespace}
            -P ${MILLRACE_EMBED_SCRIPT}
    DEPENDS ${file} ${MILLRACE_EMBED_SCRIPT}
    VERBATIM)
endfunction()
