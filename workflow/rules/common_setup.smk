# What the rules of set-up errors and contrast take in.


def setup_reference(wildcards):
    """Return the beam that renders the plan of an experiment's images."""
    asked = [
        p["reference"]
        for p in PROJECT.setup_places()
        if (p["dataset"], p["method"]) == (wildcards.dataset, wildcards.method)
    ]
    return PROJECT.datasets[asked[0]].physics.model_dump_json() if asked else ""


def contrast_config(wildcards):
    names = PROJECT.config.contrast
    settings = {
        name: PROJECT.datasets[name].model_dump_json() for name in (names.kv, names.mv)
    }
    return json.dumps([settings, names.bone_labels])


def contrast_inputs(wildcards):
    """List the patients' CTs and labels, their views and the published coefficients."""
    names = PROJECT.config.contrast
    cts = [
        file.format(dataset=names.mv, subject=subject)
        for file in (layout.CT, layout.LABELS)
        for subject in PROJECT.datasets[names.mv].subjects
    ]
    return [*cts, layout.VIEWS.format(dataset=names.mv), names.tabulated]


def setup_tables(experiments):
    """List the tables of set-up errors of some experiments."""
    return of_experiments(layout.SETUP, [e for e in experiments if e.setup])
