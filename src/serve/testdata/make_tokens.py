#!/usr/bin/env python3
"""Writes tokens.json: keys and tokens by PyJWT, whose JOSE and key formats are not ours. See README.md."""

import base64
import datetime
import hashlib
import hmac
import json
import pathlib

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NOW = int(datetime.datetime(2026, 11, 22, 10, 0, tzinfo=datetime.timezone.utc).timestamp())
CLAIMS = {"iss": "https://idp.example/", "aud": ["lake", "other"], "sub": "alice", "scope": "openid read sql",
          "nbf": NOW - 60, "iat": NOW - 60, "exp": NOW + 3600}
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()
EC_KEYS = {"ES256": ec.generate_private_key(ec.SECP256R1()), "ES384": ec.generate_private_key(ec.SECP384R1()),
           "ES512": ec.generate_private_key(ec.SECP521R1())}


def signed(key, algorithm, kid, claims=None, **header):
    return jwt.encode(claims or CLAIMS, key, algorithm=algorithm, headers={"kid": kid, **header})


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def main():
    keys = [json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key())) | {"kid": "rsa", "use": "sig"},
            json.loads(OKPAlgorithm.to_jwk(ED_KEY.public_key())) | {"kid": "ed"}]
    keys += [json.loads(ECAlgorithm.to_jwk(key.public_key())) | {"kid": name} for name, key in EC_KEYS.items()]
    tokens = {name: signed(RSA_KEY, name, "rsa") for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")}
    tokens |= {name: signed(key, name, name) for name, key in EC_KEYS.items()}
    tokens["EdDSA"] = signed(ED_KEY, "EdDSA", "ed")

    # A token that takes the public key, which everybody has, for the secret of an HMAC.
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT", "kid": "rsa"}, CLAIMS))
    confused = text + "." + base64url(hmac.new(pem, text.encode(), hashlib.sha256).digest())
    unsigned = jwt.encode(CLAIMS, None, algorithm="none", headers={"kid": "rsa"})
    document = {"now": NOW, "jwks": {"keys": keys}, "tokens": tokens, "confused": confused, "unsigned": unsigned}
    (pathlib.Path(__file__).parent / "tokens.json").write_text(json.dumps(document, indent=1) + "\n")


main()
