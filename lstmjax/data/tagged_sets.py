from lstmjax.data.tagged import read_columns, read_conllu


def ud(tag=None):
    import os

    return tuple(
        read_conllu(os.environ["LSTMJAX_DATA"] + f"/ud_english_ewt/en_ewt-ud-{p}.conllu.gz", tag=tag or "upos")
        for p in ("train", "dev", "test")
    )


def wnut(tag=None):
    import os

    return tuple(
        read_columns(os.environ["LSTMJAX_DATA"] + "/wnut17/" + p)
        for p in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    )


TAGGED_SETS = {"ud-ewt": ud, "wnut17": wnut}
