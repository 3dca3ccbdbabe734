#!/usr/bin/env python3
"""Each symbol of OpenSSL that the program, libssl or libcurl uses is bound to the system's library, not to the copy that libparquet
exports: the loader itself is asked, for the program as it is linked.
"""
import os
import re
import subprocess
import sys

BINDING = re.compile(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: normal symbol `(\w+)'")
OPENSSL = re.compile(r"^(SSL|EVP|X509|PEM|BIO|BN|ECDSA_SIG|OSSL|ERR|CRYPTO|RAND|SHA256|d2i|i2d)_?[A-Z0-9_a-z]*$")


def main():
    program = sys.argv[1]
    env = {**os.environ, "LD_DEBUG": "bindings", "LD_BIND_NOW": "1"}
    said = subprocess.run([program, "version"], env=env, capture_output=True, text=True, timeout=100, check=True).stderr
    asking = {os.path.basename(program), "libssl.so.3", "libcurl.so.4"}
    bound = [(os.path.basename(source), os.path.basename(target), symbol) for source, target, symbol in BINDING.findall(said)
             if os.path.basename(source) in asking and OPENSSL.match(symbol)]
    for needed in ("SSL_CTX_new", "EVP_DigestVerify", "X509_check_private_key"):
        assert any(symbol == needed and source == os.path.basename(program) for source, _, symbol in bound), f"{needed} is not used"
    assert any(source == "libssl.so.3" for source, _, _ in bound), "libssl was not looked at"
    wrong = [one for one in bound if not re.match(r"lib(ssl|crypto)\.so\.3$", one[1])]
    assert not wrong, wrong
    print(f"{len(bound)} symbols\n1 passed, 0 failed")


main()
