"""What a project's tests need: databases that are quick to have, callers, and honest fakes.

Installed as a pytest plugin; a project says in its conftest.py which app is tested:

    @pytest.fixture(scope="session")
    def app() -> Fortress: ...
"""
