"""Definitions that are wrong, each with the whole screen that ``image-tools bundle check`` shows for it.

In the screens, ``HERE`` stands for the folder that the definition lies in.
"""

# ruff: noqa: E501 (screens are as wide as they are)
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Broken:
    """``by_schema``: whether an editor with the JSON Schema marks it, too."""

    name: str
    text: str
    screen: str
    by_schema: bool = False


NO_YAML = (
    Broken("tab", "bundles:\n\tdemo:\n", "bundle.yaml:2:1: not valid YAML: a tab; YAML is indented with spaces"),
    Broken(
        "indentation",
        "bundles:\n  demo:\n    images: [nginx]\n   jobs: 2\n",
        "bundle.yaml:4:4: not valid YAML: this does not fit what stands above; see to the indentation",
    ),
    Broken(
        "colon",
        "bundles:\n  demo:\n    description: Rancher: all of it\n    images: [nginx]\n",
        "bundle.yaml:3:25: not valid YAML: a ': ' does not fit here; see to the indentation, or put the text in quotes",
    ),
    Broken(
        "open bracket",
        "bundles:\n  demo:\n    images: [nginx,\n    jobs: 2\n",
        "bundle.yaml:5:1: not valid YAML: a '[' or '{' is opened and not closed, or a ',' is missing",
    ),
    Broken(
        "open quote",
        'bundles:\n  demo:\n    description: "Rancher\n    images: [nginx]\n',
        "bundle.yaml:5:1: not valid YAML: a quote is opened and not closed",
    ),
    Broken(
        "at sign",
        "bundles:\n  demo:\n    source: @mirror\n",
        "bundle.yaml:3:13: not valid YAML: a text cannot start like this without quotes",
    ),
    Broken(
        "star",
        "bundles:\n  demo:\n    images: [*rancher]\n",
        "bundle.yaml:3:14: not valid YAML: no anchor (&name) of this name stands above; a text that starts with '*' needs quotes",
    ),
    Broken(
        "two documents",
        "bundles:\n  demo:\n    images: [nginx]\n---\nbundles: {}\n",
        "bundle.yaml:4:1: not valid YAML: a second document begins here; put all bundles under one 'bundles:'",
    ),
    Broken(
        "control character",
        "bundles:\n  de\x07mo:\n",
        r"bundle.yaml:2:5: not valid YAML: the control character '\x07' is not allowed",
    ),
    Broken("depth", "[\n" * 1000 + "]" * 1000, "bundle.yaml: not valid YAML: it is nested too deeply"),
    Broken(
        "nothing", "# only a comment\n", "bundle.yaml: the definition is empty; it needs 'bundles:' with a name and 'images:'"
    ),
)
"""Text that is not one YAML document."""

WRONG = (
    Broken(
        "a list of images, not a definition",
        "- nginx\n- redis\n",
        "bundle.yaml:1:1: 'key: value' lines are needed here, not a list",
        by_schema=True,
    ),
    Broken(
        "unknown keys",
        """
        default: {jobs: 2}
        bundles:
          demo:
            image: [nginx]
            compres: zstd
            images: [{image: nginx, archs: amd64}]
            frobnicate: 1
        """,
        """
        bundle.yaml:1:1: unknown key 'default': did you mean 'defaults'?
        bundle.yaml:4:5: unknown key 'image': did you mean 'images'?
        bundle.yaml:5:5: unknown key 'compres': did you mean 'compress'?
        bundle.yaml:6:29: unknown key 'archs': did you mean 'arch'?
        bundle.yaml:7:5: unknown key 'frobnicate': valid are description, images, arch, os, source, jobs, cache, destination, \
compress, compress-level, part, part-size, parity, parity-blocks, sign, base, base-signers, note, failed-list, authfile, cert-dir, tls-verify, referrers, referrer-types, require-signed, quota, retry, via
        """,
        by_schema=True,
    ),
    Broken(
        "wrong types",
        """
        defaults:
          jobs: "4"
          tls-verify: "yes"
          retry: some
          part-size: 1.5
          cache: [cache]
        bundles:
          demo:
            description: 3.10
            images: nginx
        """,
        """
        bundle.yaml:2:9: 'jobs' is a whole number or auto, not '4'; leave out the quotes
        bundle.yaml:3:15: 'tls-verify' is true or false, not 'yes'
        bundle.yaml:4:10: 'retry' is a whole number, not 'some'
        bundle.yaml:5:14: a text is needed here, not '1.5', which YAML takes for a number; put it in quotes
        bundle.yaml:6:10: a text is needed here, not a list
        bundle.yaml:9:18: a text is needed here, not '3.10', which YAML takes for a number; put it in quotes
        bundle.yaml:10:13: a list of '- ...' lines is needed here, not 'nginx'
        """,
        by_schema=True,
    ),
    Broken(
        "texts that YAML takes for something else",
        """
        bundles:
          1.30:
            images:
              - 1.25
              - no
              - 2024-01-01
              -
              - !tagged nginx
        """,
        """
        bundle.yaml:2:3: a key must be a text, not '1.30', which YAML takes for a number; put it in quotes
        """,
        by_schema=True,
    ),
    Broken(
        "images that YAML takes for something else",
        """
        bundles:
          demo:
            images:
              - 1.25
              - no
              - 2024-01-01
              -
              - !tagged nginx
              - [nginx]
              - image:
        """,
        """
        bundle.yaml:4:9: a text is needed here, not '1.25', which YAML takes for a number; put it in quotes
        bundle.yaml:5:9: a text is needed here, not 'no', which YAML takes for true or false; put it in quotes
        bundle.yaml:6:9: a text is needed here, not '2024-01-01', which YAML takes for a date; put it in quotes
        bundle.yaml:7:8: a text is needed here, not nothing
        bundle.yaml:8:9: a text is needed here, not 'nginx' with the tag '!tagged'
        bundle.yaml:9:9: a text is needed here, not a list
        bundle.yaml:10:15: a text is needed here, not nothing
        """,
        by_schema=True,
    ),
    Broken(
        "references",
        r"""
        bundles:
          demo:
            images:
              - Nginx
              - nginx:1.25 # this comment is fine
              - "redis:7 # this one is not"
              - nginx@sha256:abc
              - https://docker.io/nginx
              - "# nginx"
              - "nginx\e[31m"
        """,
        r"""
        bundle.yaml:4:9: 'Nginx': invalid name 'Nginx': 'Nginx' is not a path component (names are lower case)
        bundle.yaml:6:9: 'redis:7 # this one is not': one image a line, without spaces; a comment needs a line of its own
        bundle.yaml:7:9: 'nginx@sha256:abc': not a valid digest: 'sha256:abc' (expected sha256: and 64 lower case hex digits)
        bundle.yaml:8:9: 'https://docker.io/nginx': leave out 'https://': write 'docker.io/nginx'
        bundle.yaml:9:9: '# nginx' is a comment, not an image
        bundle.yaml:10:9: 'nginx\x1b[31m': invalid name 'nginx\x1b[31m': 'nginx\x1b[31m' is not a path component
        """,
    ),
    Broken(
        "values",
        """
        defaults: {jobs: 0, retry: -1, compress: xz, arch: linux/amd64, source: "https://mirror"}
        bundles:
          demo:
            os: "linux windows"
            compress: zstd
            compress-level: 20
            part-size: 0
            images: [nginx]
        """,
        """
        bundle.yaml:1:18: 'jobs': invalid value 0: use a number from 1 to 20
        bundle.yaml:1:28: 'retry': invalid value -1: use 0 or more
        bundle.yaml:1:42: 'compress': invalid value "xz": use one of gzip, zstd, dir
        bundle.yaml:1:52: 'arch': invalid architecture "linux/amd64": operating systems are a setting of their own, e.g. os linux, arch amd64
        bundle.yaml:1:73: 'source': invalid registry 'https://mirror': leave out the scheme, e.g. 'registry.example.com:5000'
        bundle.yaml:4:9: 'os': invalid value "linux windows": use names separated by ',', e.g. linux
        bundle.yaml:6:21: 'compress-level': invalid value 20: use a number from 1 to 19
        bundle.yaml:7:16: 'part-size': invalid part size "0": it must be larger than zero
        """,
        by_schema=True,
    ),
    Broken(
        "levels of another compression",
        """
        bundles:
          one: {compress: gzip, compress-level: 10, images: [nginx]}
          two: {compress: dir, compress-level: 1, images: [nginx]}
          three: {compress: zstd, compress-level: 19, images: [nginx]}
        """,
        """
        bundle.yaml:2:41: 'compress-level': invalid value 10 for gzip: use a number from 1 to 9
        bundle.yaml:3:40: 'compress-level': invalid value 1 for dir: a folder is not compressed
        """,
        by_schema=True,
    ),
    Broken(
        "places",
        r"""
        defaults: {authfile: ~nobody-at-all/auth.json, cert-dir: certs}
        bundles:
          demo:
            cache: .
            destination: ""
            images: [{list: none.txt}, {list: "a\0b"}]
          other:
            authfile: auth.json
            destination: .
            images: [nginx]
        """,
        """
        bundle.yaml:1:22: there is no such place as ~nobody-at-all/auth.json: Could not determine home directory.
        bundle.yaml:1:58: 'cert-dir': HERE/certs: there is no such folder
        bundle.yaml:3:3: 'destination': HERE/demo.tar.gz lies in the cache, which is what is packed; name a file elsewhere
        bundle.yaml:5:18: a text is needed here, not nothing
        bundle.yaml:6:21: cannot read the image list none.txt: No such file or directory
        bundle.yaml:6:39: a path is empty or holds a NUL character
        bundle.yaml:8:15: 'authfile': HERE/auth.json: there is no such file; log in with 'skopeo login --authfile HERE/auth.json REGISTRY'
        bundle.yaml:9:18: 'destination': HERE is a folder; name a file, e.g. HERE/saved-images.tar.gz
        """,
        by_schema=True,
    ),
    Broken(
        "environment",
        """
        environment:
          MIRROR: ""
          REQUIRED:
          PORT: 5000
          no-name: x
        bundles:
          demo:
            source: ${MIROR}
            destination: $MIRROR/x.tar.gz
            jobs: ${JOBS}
            images: ["${HOME}/nginx", "${}"]
        """,
        """
        bundle.yaml:3:3: the environment variable REQUIRED is not set, and has no default here
        bundle.yaml:4:9: a text is needed here, not '5000', which YAML takes for a number; put it in quotes
        bundle.yaml:5:3: 'no-name' cannot be the name of an environment variable
        bundle.yaml:8:13: ${MIROR} is not declared under 'environment:': did you mean 'MIRROR'?
        bundle.yaml:9:18: $MIRROR stays as it is; write ${MIRROR} for the environment variable
        bundle.yaml:10:11: ${JOBS} is not declared under 'environment:': valid are MIRROR, REQUIRED, PORT
        bundle.yaml:11:14: ${HOME} is not declared under 'environment:': valid are MIRROR, REQUIRED, PORT
        bundle.yaml:11:31: ${} is not declared under 'environment:': valid are MIRROR, REQUIRED, PORT
        """,
        by_schema=True,
    ),
    Broken(
        "duplicates",
        """
        bundles:
          demo:
            jobs: 2
            images:
              - nginx:1.25
              - {image: "nginx:1.25", arch: arm64}
              - {list: list.txt, source: mirror.example.com}
              - nginx:1.25
            jobs: 3
          demo:
            images: [redis]
        """,
        """
        bundle.yaml:6:17: 'nginx:1.25' stands here with other platforms, or another source, than at bundle.yaml:5:9
        list.txt:2: 'nginx:1.25' stands here with other platforms, or another source, than at bundle.yaml:5:9
        bundle.yaml:9:5: the key 'jobs' stands here twice, first in line 3
        bundle.yaml:10:3: the key 'demo' stands here twice, first in line 2
        """,
    ),
    Broken(
        "an included list",
        """
        bundles:
          demo:
            images:
              - list: wrong.txt
              - {list: wrong.txt, image: nginx}
              - {arch: amd64}
        """,
        """
        wrong.txt:1: 'Nginx': invalid name 'Nginx': 'Nginx' is not a path component (names are lower case)
        wrong.txt:3: 'a b': one image a line, without spaces; a comment needs a line of its own
        bundle.yaml:5:9: an entry names either an 'image', a 'list' or a 'chart'
        bundle.yaml:6:9: an entry names either an 'image', a 'list' or a 'chart'
        """,
        by_schema=True,
    ),
    Broken(
        "bundles that undo each other",
        """
        defaults: {destination: bundle.tar.gz, failed-list: failed.txt}
        bundles:
          one: {images: [nginx]}
          two: {images: [nginx], source: mirror.example.com}
        """,
        """
        bundle.yaml:4:3: 'destination' of 'two' is 'destination' of 'one', too: HERE/bundle.tar.gz
        bundle.yaml:4:3: 'failed-list' of 'two' is 'failed-list' of 'one', too: HERE/failed.txt
        bundle.yaml:4:3: docker.io/library/nginx:latest comes from docker.io/library/nginx:latest in 'one' and from \
mirror.example.com/library/nginx:latest in 'two', but one cache holds one of them: use one source, or give the bundles a 'cache' each
        """,
    ),
    Broken(
        "bundles without images, or a name",
        """
        bundles:
          empty: {images: []}
          none: {jobs: 2}
          two words: {images: [nginx]}
          nothing:
        """,
        """
        bundle.yaml:2:19: the bundle 'empty' holds no image
        bundle.yaml:3:3: the bundle 'none' has no 'images:'
        bundle.yaml:4:3: 'two words' cannot be a bundle's name: use letters, digits, '.', '_' and '-'
        bundle.yaml:5:11: 'key: value' lines are needed here, not nothing
        """,
        by_schema=True,
    ),
    Broken(
        "no bundles",
        "bundles: {}\n",
        "bundle.yaml:1:1: it needs 'bundles:' with a name and 'images:' for each bundle",
        by_schema=True,
    ),
    Broken(
        "a folder in volumes",
        "defaults: {part-size: 1G}\nbundles:\n  demo: {compress: dir, images: [nginx]}\n",
        "bundle.yaml:3:20: 'compress': dir makes a folder, which is not cut into volumes; use gzip or zstd, or no volumes",
    ),
    Broken(
        "merge keys",
        """
        bundles:
          one: &one {images: [nginx], jobz: 2}
          two: {<<: *one, failed-list: two.txt}
          three: {<<: nginx, images: [redis]}
        """,
        """
        bundle.yaml:2:31: unknown key 'jobz': did you mean 'jobs'?
        bundle.yaml:4:15: '<<' takes the keys of another mapping (*name), not 'nginx'
        """,
        by_schema=True,
    ),
)
"""YAML that is no definition."""

HOSTILE = {
    "a date that is none": "bundles: {a: {jobs: !!timestamp x, images: [!!timestamp foo]}}",
    "numbers that are none": "bundles: {a: {jobs: !!int '', retry: !!int _, images: [!!float x, !!bool maybe, !!binary '*']}}",
    "a large number": f"bundles: {{a: {{jobs: {'9' * 1_000_000}, images: [x]}}}}",
    "a large hexadecimal number": f"bundles: {{a: {{jobs: 0x{'f' * 5000}, retry: 0x{'f' * 500_000}, images: [x]}}}}",
    "a number of base 60": f"bundles: {{a: {{jobs: 1{':1' * 400_000}, images: [x]}}}}",
    "a large key": f"bundles: {{? 0x{'f' * 5000} : {{images: [x]}}}}",
    "brackets": "[" * 200_000,
    "braces": "{a: " * 200_000,
    "dashes": "- " * 200_000,
    "a long line": "a" * 1_000_000 + ": x",
    "a long file": "#\n" * 600_000,
    "images by aliases": f"x: &x [{','.join(f'i{n}' for n in range(1000))}]\nbundles:\n"
    + "".join(f"  b{n}: {{images: *x}}\n" for n in range(1000)),
    "keys by merging": f"x: &x {{{','.join(f'k{n}: 1' for n in range(500))}}}\nbundles:\n"
    + "".join(f"  b{n}: {{<<: [{','.join(['*x'] * 100)}]}}\n" for n in range(300)),
}
"""Text that costs a careless reader its time, its memory or its composure."""
LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
"""Ten lines that would be ten billion images."""
MERGES = "bundles:\n  b0: &b0 {images: [x], jobs: 2}\n" + "".join(
    f"  b{n}: &b{n} {{<<: [{','.join([f'*b{n - 1}'] * 10)}]}}\n" for n in range(1, 30)
)
"""Thirty lines that PyYAML would merge 10**29 keys for."""
