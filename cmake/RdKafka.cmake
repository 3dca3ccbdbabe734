# librdkafka as a static library: compiled and put there by scripts/setup (ADR 10).
if(NOT EXISTS ${MILLRACE_DEPS}/librdkafka/lib/librdkafka.a)
  message(FATAL_ERROR "librdkafka not found in ${MILLRACE_DEPS}. Run scripts/setup.")
endif()
# With our patch (third_party/librdkafka) it hands over batches of records instead of messages.
option(MILLRACE_KAFKA_BATCHES "Take batches from librdkafka if it can hand them over" ON)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${MILLRACE_DEPS}/librdkafka/version)
set(MILLRACE_HAS_KAFKA_BATCHES 0)
if(MILLRACE_KAFKA_BATCHES AND EXISTS ${MILLRACE_DEPS}/librdkafka/include/librdkafka/rdkafka_batch.h)
  set(MILLRACE_HAS_KAFKA_BATCHES 1)
endif()
pkg_check_modules(RDKAFKA_DEPS REQUIRED IMPORTED_TARGET libsasl2 libzstd liblz4)
add_library(RdKafka::rdkafka STATIC IMPORTED)
set_target_properties(RdKafka::rdkafka PROPERTIES
  IMPORTED_LOCATION ${MILLRACE_DEPS}/librdkafka/lib/librdkafka.a
  INTERFACE_INCLUDE_DIRECTORIES ${MILLRACE_DEPS}/librdkafka/include
  INTERFACE_COMPILE_DEFINITIONS MILLRACE_KAFKA_BATCHES=${MILLRACE_HAS_KAFKA_BATCHES})
target_link_libraries(RdKafka::rdkafka INTERFACE PkgConfig::RDKAFKA_DEPS CURL::libcurl OpenSSL::SSL OpenSSL::Crypto
                                                 ZLIB::ZLIB Threads::Threads ${CMAKE_DL_LIBS})
