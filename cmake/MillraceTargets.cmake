# The vocabulary of the build: a module is a folder, a namespace and a library; DEPS is the architecture.

add_library(millrace_warnings INTERFACE)
# Members that a designated initialiser leaves out have their defaults: that is what it is for.
target_compile_options(millrace_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                       -Wno-missing-field-initializers)
# In a unity build no source is its unit's main file, so GCC takes the local types of each for those of a header.
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(millrace_warnings INTERFACE -Wno-subobject-linkage)
endif()
if(MILLRACE_WERROR)
  target_compile_options(millrace_warnings INTERFACE -Werror)
endif()

# millrace_add_module(NAME SOURCES a.cc b.cc DEPS base model LIBS Arrow::arrow)
#
# DEPS name other modules of ours: an edge of the architecture, checked against the includes by tests/tidy.
# LIBS name third-party targets that the module's headers may use; PRIVATE_LIBS those that stay inside.
function(millrace_add_module name)
  cmake_parse_arguments(M "" "" "SOURCES;DEPS;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(millrace_${name} STATIC ${M_SOURCES})
  add_library(millrace::${name} ALIAS millrace_${name})
  target_include_directories(millrace_${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/src>)
  list(TRANSFORM M_DEPS PREPEND millrace::)
  target_link_libraries(millrace_${name} PUBLIC ${M_DEPS} ${M_LIBS}
                        PRIVATE ${M_PRIVATE_LIBS} $<BUILD_INTERFACE:millrace_warnings>)
  if(MILLRACE_FUZZ_COVERAGE)
    target_compile_options(millrace_${name} PRIVATE -fsanitize-coverage=trace-pc)
  endif()
endfunction()

# millrace_install_module(NAME HEADERS a.h b.h): the module as millrace::NAME of the installed package, with these of its
# headers, in their folders under <prefix>/include/millrace/NAME. All modules in its DEPS must be installed too.
function(millrace_install_module name)
  cmake_parse_arguments(I "" "" "HEADERS" ${ARGN})
  set_target_properties(millrace_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(millrace_${name} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/millrace>)
  target_compile_features(millrace_${name} INTERFACE $<INSTALL_INTERFACE:cxx_std_20>)
  install(TARGETS millrace_${name} EXPORT MillraceTargets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
  foreach(header IN LISTS I_HEADERS)
    get_filename_component(folder ${name}/${header} DIRECTORY)
    install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/millrace/${folder} COMPONENT library)
  endforeach()
endfunction()

# millrace_add_test(NAME SOURCES a_test.cc DEPS delta testing): one gtest binary, its cases known to ctest.
function(millrace_add_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;DEPS;LIBS;LABELS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 600)
  endif()
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  add_executable(${name} ${T_SOURCES})
  list(TRANSFORM T_DEPS PREPEND millrace::)
  # A third of a clean build is tests; what they test is optimised all the same.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  target_link_libraries(${name} PRIVATE ${T_DEPS} ${T_LIBS} GTest::gmock GTest::gtest GTest::gtest_main millrace_warnings)
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1)
  set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT} LABELS "${T_LABELS}")
endfunction()

function(millrace_add_benchmark name)
  cmake_parse_arguments(B "" "" "SOURCES;DEPS;LIBS" ${ARGN})
  add_executable(${name} ${B_SOURCES})
  list(TRANSFORM B_DEPS PREPEND millrace::)
  target_link_libraries(${name} PRIVATE ${B_DEPS} ${B_LIBS} benchmark::benchmark millrace_warnings)
endfunction()

# millrace_add_fuzzers(MODULE TARGET...): fuzz/TARGET_fuzz.cc over the module, its corpus as a test, and TARGET_fuzz_mutate, which
# mutates it, for longer runs; `fuzz_mutate` is all of these.
add_custom_target(fuzz_mutate)
function(millrace_add_fuzzers module)
  foreach(target IN LISTS ARGN)
    foreach(driver replay mutate)
      set(name ${target}_fuzz)
      if(driver STREQUAL mutate)
        set(name ${target}_fuzz_mutate)
      endif()
      add_executable(${name} ${CMAKE_SOURCE_DIR}/fuzz/${target}_fuzz.cc ${CMAKE_SOURCE_DIR}/fuzz/${driver}_main.cc)
      target_link_libraries(${name} PRIVATE millrace::${module} millrace_warnings)
    endforeach()
    add_dependencies(fuzz_mutate ${target}_fuzz_mutate)
    add_test(NAME ${target}_fuzz COMMAND ${target}_fuzz ${CMAKE_SOURCE_DIR}/fuzz/corpus/${target})
    set_tests_properties(${target}_fuzz PROPERTIES TIMEOUT 600 LABELS unit)
  endforeach()
endfunction()
