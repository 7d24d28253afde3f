#!/bin/sh
# Makes the certificates of these tests again, by the OpenSSL of this machine; nothing else uses them or their keys.
# Self-signed ones are what a plain `openssl req -x509` makes: CA certificates, by OpenSSL's own default.
set -eu
cd "$(dirname "$0")"

self_signed() { # NAME SUBJECT OPTION…
    name=$1 subject=$2
    shift 2
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -keyout "$name.key" -out "$name.pem" \
        -subj "$subject" "$@" 2>/dev/null
}

signed() { # NAME SUBJECT EXTENSIONS
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out request.pem -subj "$2" 2>/dev/null
    printf '%b' "$3" >extensions
    openssl x509 -req -in request.pem -CA authority.pem -CAkey authority.key -days 36500 -extfile extensions -out "$1.pem" \
        2>/dev/null
    rm request.pem extensions
}

self_signed ip /CN=node -addext subjectAltName=IP:127.0.0.1
self_signed name /CN=engine.test -addext subjectAltName=DNS:engine.test
# The same names with another key.
self_signed impostor /CN=node -addext subjectAltName=IP:127.0.0.1
self_signed only-cn /CN=engine.test
self_signed for-clients /CN=node -addext subjectAltName=IP:127.0.0.1 -addext extendedKeyUsage=clientAuth
self_signed authority /CN=authority
signed server /CN=node 'subjectAltName=IP:127.0.0.1\n'
signed client /CN=shipper 'extendedKeyUsage=clientAuth\n'
openssl pkcs8 -topk8 -in client.key -passout pass:secret -out client-encrypted.key
