"""The phonemes that espeak-ng says of a text, and the ids that the network of hibari gets."""

import ctypes

import espeakng_loader
import pytest
from hibari import Hibari

from tests.helpers.spoken_texts import ESPEAK


@pytest.fixture(scope="module")
def phonemes():
    """Tell phonemes as espeak-ng's library does."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    assert library.espeak_Initialize(2, 100, espeakng_loader.get_data_path().encode(), 0x8000) > 0
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def tell(text, voice):
        library.espeak_SetVoiceByName(ESPEAK._voices.file(voice).encode())
        buffer = ctypes.create_string_buffer(text.encode())
        rest, told = ctypes.c_void_p(ctypes.addressof(buffer)), []
        while rest.value:
            told.append(library.espeak_TextToPhonemes(ctypes.byref(rest), 1, 0))
        return told

    return tell


@pytest.fixture(scope="module")
def network_input():
    model = Hibari("heart", threads=1)
    return lambda text: [model.ids(sentence) for sentence in model.phonemize(text)]
