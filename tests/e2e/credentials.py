"""Certificates and tokens for the tests of the API's security: the keys and signatures by the command line of OpenSSL, the rest of a
JWT by this file, so that nothing of the program is held against itself.
"""
import base64
import json
import pathlib
import subprocess


def openssl(*arguments, stdin=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=True).stdout


class Authority:
    """Signs certificates, which lie in a folder as NAME.crt and NAME.key."""

    def __init__(self, folder: pathlib.Path, name: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, name
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-days", "2",
                "-addext", "keyUsage=critical,keyCertSign", "-keyout", folder / f"{name}.key", "-out", self.certificate)

    @property
    def certificate(self) -> pathlib.Path:
        return self.folder / f"{self.name}.crt"

    def sign(self, name: str, usage="serverAuth"):
        """The certificate's and the key's path."""
        certificate, key, request = (self.folder / f"{name}.{suffix}" for suffix in ("crt", "key", "csr"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage={usage}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / f"{self.name}.key", "-CAcreateserial",
                "-days", "1", "-extfile", extensions, "-out", certificate)
        return certificate, key


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """A key of an issuer: RS256, ES256 or EdDSA."""

    def __init__(self, folder: pathlib.Path, kid: str, algorithm: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.kid, self.algorithm, self.key = kid, algorithm, folder / f"{kid}.pem"
        kind = {"RS256": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"), "ES256": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
                "EdDSA": ("ED25519",)}[algorithm]
        openssl("genpkey", "-algorithm", *kind, "-out", self.key)

    def jwk(self) -> dict:
        der = openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")
        named = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        if self.algorithm == "EdDSA":
            return {"kty": "OKP", "crv": "Ed25519", "x": base64url(der[-32:])} | named
        if self.algorithm == "ES256":
            return {"kty": "EC", "crv": "P-256", "x": base64url(der[-64:-32]), "y": base64url(der[-32:])} | named
        modulus = openssl("rsa", "-pubin", "-inform", "DER", "-noout", "-modulus", stdin=der).decode().strip().split("=")[1]
        return {"kty": "RSA", "n": base64url(bytes.fromhex(modulus)), "e": "AQAB"} | named

    def token(self, claims: dict) -> str:
        head = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (head, claims))
        signed = self.key.with_suffix(".txt")
        signed.write_text(text)
        if self.algorithm == "EdDSA":
            signature = openssl("pkeyutl", "-sign", "-inkey", self.key, "-rawin", "-in", signed)
        else:
            signature = openssl("dgst", "-sha256", "-sign", self.key, signed)
        if self.algorithm == "ES256":
            signature = b"".join(number.rjust(32, b"\0")[-32:] for number in integers(signature))
        return text + "." + base64url(signature)


def integers(der: bytes) -> list[bytes]:
    """Of a SEQUENCE of INTEGERs that is shorter than 128 bytes."""
    numbers, at = [], 2
    while at < len(der):
        numbers.append(der[at + 2:at + 2 + der[at + 1]])
        at += 2 + der[at + 1]
    return numbers
