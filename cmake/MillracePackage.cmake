# What find_package(Millrace) reads: docs/library.md. The modules install themselves, see millrace_install_module().
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Millrace)
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/MillraceConfig.cmake.in ${CMAKE_BINARY_DIR}/MillraceConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/MillraceConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT MillraceTargets NAMESPACE millrace:: DESTINATION ${package_dir} COMPONENT library)
install(FILES ${CMAKE_BINARY_DIR}/MillraceConfig.cmake ${CMAKE_BINARY_DIR}/MillraceConfigVersion.cmake
              ${CMAKE_SOURCE_DIR}/cmake/Arrow.cmake ${CMAKE_SOURCE_DIR}/cmake/MillraceDeps.cmake
        DESTINATION ${package_dir} COMPONENT library)
